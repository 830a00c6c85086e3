// SPDX-License-Identifier: Apache-2.0
// Golden texts of pad_products and of slices_into_loops behind it, for a device whose vectors have
// 8 elements and where it always pays unless a test says otherwise.
#include "golden.h"

namespace ostria {
namespace {

PassContext Gpu(DType dtype = DType::kFloat64) {
  PassContext gpu{.device = DeviceKind::kCuda};
  gpu.product_multiple = [=](DType d) { return int64_t{d == dtype ? 8 : 1}; };
  gpu.padding_pays = [](const ops::ProductPadding&) { return true; };
  return gpu;
}

// What a pass was told that padding costs, of each product in turn.
std::vector<ops::ProductPadding> Costs(const std::string& text, DType dtype) {
  std::vector<ops::ProductPadding> out;
  PassContext gpu = Gpu(dtype);
  gpu.padding_pays = [&](const ops::ProductPadding& p) {
    out.push_back(p);
    return true;
  };
  Graph g = Parse("ostria-graph 1\n" + text);
  PadProducts(g, gpu);
  return out;
}

// The tied head of a language model, small: 257 tokens become 264.
constexpr std::string_view kTied = R"(input %0 "h": bfloat16[2, 16, 32]
input %1 "w": float32[257, 32]
input %2 "labels": int32[2, 16]
input %3 "g": float32[2, 16]
%4: bfloat16[257, 32] = cast@1(%1) {dtype = bfloat16}
%5: bfloat16[2, 16, 257] = matmul@1(%0, %4) {transpose_a = false, transpose_b = true}
%6: bfloat16[2, 16, 257], %7: float32[2, 16] = sparse_softmax_cross_entropy_grad@1(%5, %2, %3) {classes = -1}
%8: bfloat16[32, 257] = reshape@1(%6) {shape = shape[32, 257]}
%9: bfloat16[32, 32] = matmul@1(%8, %4) {transpose_a = false, transpose_b = false}
%10: bfloat16[32, 32] = reshape@1(%0) {shape = shape[32, 32]}
%11: bfloat16[257, 32] = matmul@1(%8, %10) {transpose_a = true, transpose_b = false}
output "loss" %7
output "dh" %9
output "dw" %11
)";
TEST(PadProducts, WidensLogitsTheirLossAndItsGradient) {
  EXPECT_EQ(After(PadProducts, std::string(kTied), Gpu(DType::kBFloat16)),
            R"(input %0 "h": bfloat16[2, 16, 32]
input %1 "w": float32[257, 32]
input %2 "labels": int32[2, 16]
input %3 "g": float32[2, 16]
%4: float32[1, 8224] = reshape@1(%1) {shape = shape[1, 8224]}
%5: bfloat16[1, 8448] = pad_channels@1(%4) {channels = 8448, dtype = bfloat16}
%6: bfloat16[264, 32] = reshape@1(%5) {shape = shape[264, 32]}
%7: bfloat16[2, 16, 264] = matmul@1(%0, %6) {transpose_a = false, transpose_b = true}
%8: bfloat16[2, 16, 264], %9: float32[2, 16] = sparse_softmax_cross_entropy_grad@1(%7, %2, %3) {classes = 257}
%10: bfloat16[32, 264] = reshape@1(%8) {shape = shape[32, 264]}
%11: bfloat16[32, 32] = matmul@1(%10, %6) {transpose_a = false, transpose_b = false}
%12: bfloat16[32, 32] = reshape@1(%0) {shape = shape[32, 32]}
%13: bfloat16[264, 32] = matmul@1(%10, %12) {transpose_a = true, transpose_b = false}
%14: bfloat16[257, 32] = slice@1(%13) {start = ints[0, 0], stop = ints[257, 32], step = ints[]}
output "loss" %9
output "dh" %11
output "dw" %14
)");
}

// Neither operands nor results are copied for it; an output is, and so is a reader of other kinds.
TEST(PadProducts, CountsWhatIsCopied) {
  const auto costs = Costs(std::string(kTied), DType::kBFloat16);
  ASSERT_EQ(costs.size(), 3u);
  for (const ops::ProductPadding& p : costs) {
    EXPECT_EQ(p.flops, 2.0 * 32 * 257 * 32);
    EXPECT_EQ(p.padded_flops, 2.0 * 32 * 264 * 32);
    EXPECT_EQ(p.launches, &p == &costs[2] ? 1 : 0);
  }
  EXPECT_EQ(costs[0].copied_bytes, 0);
  EXPECT_EQ(costs[1].copied_bytes, 0);
  EXPECT_EQ(costs[2].copied_bytes, 2 * 257 * 32 * 2);  // the rows of dw, which leave the graph
  const auto with = [](const std::string& nodes, const std::string& output) {
    std::string text(kTied);
    text.insert(text.find("output"), nodes);
    return Costs(text + "output \"more\" " + output + "\n", DType::kBFloat16)[0].copied_bytes;
  };
  constexpr int64_t kLogits = 2 * 16 * 257 * 2;
  EXPECT_EQ(with("", "%5"), 2 * kLogits);
  EXPECT_EQ(with("%12: bfloat16[8224] = reshape@1(%6) {shape = shape[8224]}\n", "%12"),
            2 * kLogits);
  EXPECT_EQ(with("%12: bfloat16[2, 16, 257] = exp@1(%5)\n", "%12"), 0);  // a loop
  EXPECT_EQ(with("%12: bfloat16[257] = max@1(%8) {axis = ints[0], keepdims = false}\n", "%12"), 0);
  // The cast stays for another reader, so the padding is a pass of its own.
  EXPECT_EQ(with("", "%4"), 2 * 257 * 32 * 2);
}

// A head of its own, with a bias: what sums its gradient's rows reads the wide ones too.
TEST(PadProducts, WidensAKernelAndItsBias) {
  EXPECT_EQ(After(PadProducts, R"(input %0 "h": float64[16, 32]
input %1 "k": float64[32, 257]
input %2 "b": float64[257]
input %3 "labels": int32[16]
input %4 "g": float64[16]
%5: float64[16, 257] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b = false, epilogue = "none", widen = false}
%6: float64[16, 257], %7: float64[16] = sparse_softmax_cross_entropy_grad@1(%5, %3, %4) {classes = -1}
%8: float64[16, 32] = matmul@1(%6, %1) {transpose_a = false, transpose_b = true}
%9: float64[32, 257] = matmul@1(%0, %6) {transpose_a = true, transpose_b = false}
%10: float64[257] = sum@1(%6) {axis = ints[0], keepdims = false}
output "dh" %8
output "dk" %9
output "db" %10
)",
                  Gpu()),
            R"(input %0 "h": float64[16, 32]
input %1 "k": float64[32, 257]
input %2 "b": float64[257]
input %3 "labels": int32[16]
input %4 "g": float64[16]
%5: float64[32, 264] = pad_channels@1(%1) {channels = 264, dtype = float64}
%6: float64[264] = pad_channels@1(%2) {channels = 264, dtype = float64}
%7: float64[16, 264] = matmul_fused@1(%0, %5, %6) {transpose_a = false, transpose_b = false, epilogue = "none", widen = false}
%8: float64[16, 264], %9: float64[16] = sparse_softmax_cross_entropy_grad@1(%7, %3, %4) {classes = 257}
%10: float64[16, 32] = matmul@1(%8, %5) {transpose_a = false, transpose_b = true}
%11: float64[32, 264] = matmul@1(%0, %8) {transpose_a = true, transpose_b = false}
%12: float64[32, 257] = slice@1(%11) {start = ints[0, 0], stop = ints[32, 257], step = ints[]}
%13: float64[264] = sum@1(%8) {axis = ints[0], keepdims = false}
%14: float64[257] = slice@1(%13) {start = ints[0], stop = ints[257], step = ints[]}
output "dh" %10
output "dk" %12
output "db" %14
)");
}

// The inner size: zeros in both operands.
TEST(PadProducts, PadsAnInnerSize) {
  EXPECT_EQ(After(PadProducts, R"(input %0 "a": float64[16, 65]
input %1 "b": float64[65, 32]
%2: float64[16, 32] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
output "y" %2
)",
                  Gpu()),
            R"(input %0 "a": float64[16, 65]
input %1 "b": float64[65, 32]
%2: float64[16, 72] = pad_channels@1(%0) {channels = 72, dtype = float64}
%3: float64[1, 2080] = reshape@1(%1) {shape = shape[1, 2080]}
%4: float64[1, 2304] = pad_channels@1(%3) {channels = 2304, dtype = float64}
%5: float64[72, 32] = reshape@1(%4) {shape = shape[72, 32]}
%6: float64[16, 32] = matmul@1(%2, %5) {transpose_a = false, transpose_b = false}
output "y" %6
)");
}

// Rows that a gelu made are no zeros that a sum may count on, nor may NaN be brought into it.
TEST(PadProducts, SumsOverZerosOnly) {
  EXPECT_EQ(After(PadProducts, R"(input %0 "a": float64[16, 32]
input %1 "b": float64[32, 65]
input %2 "c": float64[65, 32]
%3: float64[16, 65] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
%4: float64[16, 32] = matmul@1(%3, %2) {transpose_a = false, transpose_b = false}
output "y" %4
)",
                  Gpu()),
            R"(input %0 "a": float64[16, 32]
input %1 "b": float64[32, 65]
input %2 "c": float64[65, 32]
%3: float64[32, 72] = pad_channels@1(%1) {channels = 72, dtype = float64}
%4: float64[16, 72] = matmul@1(%0, %3) {transpose_a = false, transpose_b = false}
%5: float64[16, 65] = slice@1(%4) {start = ints[0, 0], stop = ints[16, 65], step = ints[]}
%6: float64[16, 72] = pad_channels@1(%5) {channels = 72, dtype = float64}
%7: float64[1, 2080] = reshape@1(%2) {shape = shape[1, 2080]}
%8: float64[1, 2304] = pad_channels@1(%7) {channels = 2304, dtype = float64}
%9: float64[72, 32] = reshape@1(%8) {shape = shape[72, 32]}
%10: float64[16, 32] = matmul@1(%6, %9) {transpose_a = false, transpose_b = false}
output "y" %10
)");
}

// Loops read the wide rows by themselves: one that is a group, and one that was none.
TEST(SlicesIntoLoops, ReadsRowsWhereTheyLie) {
  EXPECT_EQ(After(SlicesIntoLoops, R"(input %0 "a": float32[16, 32]
input %1 "b": float32[32, 264]
%2: float32[16, 264] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
%3: float32[16, 257] = slice@1(%2) {start = ints[0, 0], stop = ints[16, 257], step = ints[]}
%4: float32[16, 257] = exp@1(%3)
%5: float32[16, 257] = fused@1(%4, %3) {body = {
  input %0 "x0": float32[16, 257]
  input %1 "x1": float32[16, 257]
  %2: float32[16, 257] = multiply@1(%0, %1)
  %3: float32[16, 257] = negative@1(%2)
  output "y0" %3
}}
output "y" %5
)"),
            R"(input %0 "a": float32[16, 32]
input %1 "b": float32[32, 264]
%2: float32[16, 264] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
%3: float32[16, 257] = fused@1(%2) {body = {
  input %0 "x0": float32[16, 264]
  %1: float32[16, 257] = slice@1(%0) {start = ints[0, 0], stop = ints[16, 257], step = ints[]}
  %2: float32[16, 257] = exp@1(%1)
  output "y0" %2
}}
%4: float32[16, 257] = fused@1(%3, %2) {body = {
  input %0 "x0": float32[16, 257]
  input %1 "x1": float32[16, 264]
  %2: float32[16, 257] = slice@1(%1) {start = ints[0, 0], stop = ints[16, 257], step = ints[]}
  %3: float32[16, 257] = multiply@1(%0, %2)
  %4: float32[16, 257] = negative@1(%3)
  output "y0" %4
}}
output "y" %4
)");
}

// Few of many columns are copied, once, and what is no loop reads the copy; first rows take none.
TEST(SlicesIntoLoops, LeavesOtherSlices) {
  const std::string text = R"(input %0 "x": float32[16, 264]
%1: float32[16, 200] = slice@1(%0) {start = ints[0, 0], stop = ints[16, 200], step = ints[]}
%2: float32[16, 200] = exp@1(%1)
%3: float32[16, 264] = exp@1(%0)
%4: float32[16, 257] = slice@1(%3) {start = ints[0, 0], stop = ints[16, 257], step = ints[]}
%5: float32[257, 16] = transpose@1(%4) {axes = ints[1, 0]}
%6: float32[15, 264] = slice@1(%3) {start = ints[0, 0], stop = ints[15, 264], step = ints[]}
%7: float32[15, 264] = exp@1(%6)
output "a" %2
output "b" %5
output "c" %7
)";
  EXPECT_EQ(After(SlicesIntoLoops, text), text);
}

TEST(PadProducts, LeavesWhatIsAlignedOrDoesNotPay) {
  const std::string aligned = R"(input %0 "a": float64[15, 64]
input %1 "b": float64[64, 32]
%2: float64[15, 32] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
output "y" %2
)";
  EXPECT_EQ(After(PadProducts, aligned, Gpu()), aligned);
  PassContext dear = Gpu(DType::kBFloat16);
  dear.padding_pays = [](const ops::ProductPadding&) { return false; };
  EXPECT_EQ(After(PadProducts, std::string(kTied), dear), kTied);
  EXPECT_EQ(After(PadProducts, std::string(kTied), Gpu(DType::kFloat16)), kTied);
  EXPECT_EQ(After(PadProducts, std::string(kTied)), kTied);
}

}  // namespace
}  // namespace ostria
