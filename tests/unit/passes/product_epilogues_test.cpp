// SPDX-License-Identifier: Apache-2.0
// Golden texts of product_epilogues: gradients of activations and of biases that products end in.
#include "golden.h"
#include "passes/pipeline.h"

namespace ostria {
namespace {

const PassContext kGpu{.evaluate = nullptr, .device = DeviceKind::kCuda};

constexpr std::string_view kGeluGrad = R"(input %0 "g": bfloat16[8, 16]
input %1 "w": bfloat16[32, 16]
input %2 "x": bfloat16[2, 4, 32]
%3: bfloat16[8, 32] = matmul@1(%0, %1) {transpose_a = false, transpose_b = true}
%4: bfloat16[2, 4, 32] = reshape@1(%3) {shape = shape[2, 4, 32]}
%5: bfloat16[2, 4, 32] = gelu_grad@1(%4, %2) {approximate = true}
output "5" %5
)";

TEST(ProductEpilogues, TakeTheGradientOfGelu) {
  EXPECT_EQ(After(ProductEpilogues, std::string(kGeluGrad), kGpu),
            R"(input %0 "g": bfloat16[8, 16]
input %1 "w": bfloat16[32, 16]
input %2 "x": bfloat16[2, 4, 32]
%3: bfloat16[8, 32] = reshape@1(%2) {shape = shape[8, 32]}
%4: bfloat16[8, 32] = matmul_fused@1(%0, %1, %3) {transpose_a = false, transpose_b = true, epilogue = "gelu_tanh_grad", widen = false}
%5: bfloat16[2, 4, 32] = reshape@1(%4) {shape = shape[2, 4, 32]}
output "5" %5
)");
}

// The exact form is no epilogue; a product that others read stays.
TEST(ProductEpilogues, LeaveOtherGradientsOfGelu) {
  std::string text(kGeluGrad);
  EXPECT_EQ(After(ProductEpilogues, text + "output \"4\" %4\n", kGpu), text + "output \"4\" %4\n");
  text.replace(text.find("approximate = true"), 18, "approximate = false");
  EXPECT_EQ(After(ProductEpilogues, text, kGpu), text);
}

constexpr std::string_view kKept = R"(input %0 "x": bfloat16[8, 16]
input %1 "w": bfloat16[16, 32]
input %2 "b": bfloat16[32]
%3: bfloat16[8, 32] = matmul_fused@1(%0, %1, %2) {epilogue = "none"}
%4: bfloat16[2, 4, 32] = reshape@1(%3) {shape = shape[2, 4, 32]}
%5: bfloat16[2, 4, 32] = gelu@1(%4) {approximate = true}
output "4" %4
output "5" %5
)";

TEST(ProductEpilogues, KeepWhatGeluWasOf) {
  EXPECT_EQ(After(ProductEpilogues, std::string(kKept), kGpu),
            R"(input %0 "x": bfloat16[8, 16]
input %1 "w": bfloat16[16, 32]
input %2 "b": bfloat16[32]
%3: bfloat16[8, 32], %4: bfloat16[8, 32] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b = false, epilogue = "gelu_tanh_kept", widen = false}
%5: bfloat16[2, 4, 32] = reshape@1(%4) {shape = shape[2, 4, 32]}
%6: bfloat16[2, 4, 32] = reshape@1(%3) {shape = shape[2, 4, 32]}
output "4" %5
output "5" %6
)");
}

TEST(ProductEpilogues, KeepNothingThatNobodyReadsAndNothingOfExactGelu) {
  std::string text(kKept);
  text.erase(text.find("output \"4\""), std::string("output \"4\" %4\n").size());
  const std::string after = After(ProductEpilogues, text, kGpu);
  EXPECT_EQ(after.find("kept"), std::string::npos) << after;
  EXPECT_NE(after.find("epilogue = \"gelu_tanh\""), std::string::npos) << after;
  text = kKept;
  text.replace(text.find("approximate = true"), 18, "approximate = false");
  EXPECT_EQ(After(ProductEpilogues, text, kGpu).find("kept"), std::string::npos);
}

// --- relu --------------------------------------------------------------------------------------

// A layer with relu, and the product behind it as its gradient; y has another shape there.
constexpr std::string_view kRelu = R"(input %0 "x": float32[2, 4, 16]
input %1 "w": float32[16, 40]
input %2 "b": float32[40]
input %3 "g": float32[8, 24]
input %4 "v": float32[40, 24]
%5: float32[2, 4, 40] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b = false, epilogue = "relu", widen = false}
%6: float32[8, 40] = matmul@1(%3, %4) {transpose_a = false, transpose_b = true}
%7: float32[2, 4, 40] = reshape@1(%6) {shape = shape[2, 4, 40]}
%8: float32[2, 4, 40] = relu_grad@1(%7, %5)
output "y" %5
output "g" %8
)";

TEST(ProductEpilogues, TakeTheGradientOfReluByAMask) {
  EXPECT_EQ(After(ProductEpilogues, std::string(kRelu), kGpu),
            R"(input %0 "x": float32[2, 4, 16]
input %1 "w": float32[16, 40]
input %2 "b": float32[40]
input %3 "g": float32[8, 24]
input %4 "v": float32[40, 24]
%5: float32[2, 4, 40], %6: uint8[2, 4, 16] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b = false, epilogue = "relu_mask", widen = false}
%7: uint8[8, 16] = reshape@1(%6) {shape = shape[8, 16]}
%8: float32[8, 40] = matmul_fused@1(%3, %4, %7) {transpose_a = false, transpose_b = true, epilogue = "relu_grad", widen = false}
%9: float32[2, 4, 40] = reshape@1(%8) {shape = shape[2, 4, 40]}
output "y" %5
output "g" %9
)");
}

// Where others read the product's result; where relu is a node of its own, since others read what
// it is of; where an operand is broadcast; where the device takes one half and not the other.
TEST(ProductEpilogues, LeaveOtherGradientsOfRelu) {
  const std::string text(kRelu);
  EXPECT_EQ(After(ProductEpilogues, text + "output \"6\" %6\n", kGpu), text + "output \"6\" %6\n");
  std::string apart = text;
  apart.replace(apart.find("\"relu\""), 6, "\"none\"");
  apart.replace(apart.find("output \"y\" %5"), 13, "output \"z\" %5");
  apart.insert(apart.find("%6:"), "%y: float32[2, 4, 40] = relu@1(%5)\n");
  apart.replace(apart.find("(%7, %5)"), 8, "(%7, %y)");
  const std::string after = After(ProductEpilogues, apart, kGpu);
  EXPECT_EQ(after.find("mask"), std::string::npos) << after;
  EXPECT_NE(after.find("relu_grad@1("), std::string::npos) << after;
  std::string broadcast(kGeluGrad);
  broadcast.replace(broadcast.find("[2, 4, 32]"), 10, "[1, 4, 32]");  // of x
  EXPECT_EQ(After(ProductEpilogues, broadcast, kGpu), broadcast);
  for (const std::string refused : {"relu_mask", "relu_grad"}) {
    PassContext context = kGpu;
    context.has_kernel = [&](const OpDef&, std::span<const Attr> attrs,
                             std::span<const ValueType>) {
      return std::get<std::string>(attrs[2]) != refused;
    };
    EXPECT_EQ(After(ProductEpilogues, text, context), text) << refused;
  }
}

// --- gradients of biases -----------------------------------------------------------------------

// The gradient of relu, in one shape and another, and its rows added up.
TEST(ProductEpilogues, AddUpTheRowsOfAGradient) {
  EXPECT_EQ(After(ProductEpilogues, R"(input %0 "g": float32[8, 24]
input %1 "w": float32[40, 24]
input %2 "mask": uint8[8, 16]
%3: float32[8, 40] = matmul_fused@1(%0, %1, %2) {transpose_b = true, epilogue = "relu_grad"}
%4: float32[2, 4, 40] = reshape@1(%3) {shape = shape[2, 4, 40]}
%5: float32[1, 1, 40] = sum@1(%4) {axis = ints[0, 1], keepdims = true}
%6: float32[40] = reshape@1(%5) {shape = shape[40]}
output "g" %4
output "b" %6
)",
                  kGpu),
            R"(input %0 "g": float32[8, 24]
input %1 "w": float32[40, 24]
input %2 "mask": uint8[8, 16]
%3: float32[8, 40], %4: float32[40] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b = true, epilogue = "relu_grad_sum", widen = false}
%5: float32[2, 4, 40] = reshape@1(%3) {shape = shape[2, 4, 40]}
%6: float32[1, 1, 40] = reshape@1(%4) {shape = shape[1, 1, 40]}
%7: float32[40] = reshape@1(%6) {shape = shape[40]}
output "g" %5
output "b" %7
)");
}

std::string GeluSum(const std::string& dtype, bool widens) {
  std::string text = StrCat(
      R"(input %0 "g": T[8, 24]
input %1 "w": T[40, 24]
input %2 "z": T[8, 40]
input %3 "x": T[8, 16]
%4: T[8, 40] = matmul_fused@1(%0, %1, %2) {transpose_b = true, epilogue = "gelu_tanh_grad"}
%5: float32[8, 40] = cast@1(%4) {dtype = float32}
%6: float32[40] = sum@1(%5) {axis = ints[0], keepdims = false}
)",
      widens
          ? R"(%7: float32[16, 40] = matmul_fused@1(%3, %4) {transpose_a = true, epilogue = "none", widen = true}
)"
          : R"(%7: T[16, 40] = matmul@1(%3, %4) {transpose_a = true}
)",
      "output \"b\" %6\noutput \"w\" %7\n");
  for (size_t at; (at = text.find(" T[")) != std::string::npos;) text.replace(at + 1, 1, dtype);
  return text;
}

// bfloat16 is added up in float32 where the weight's gradient comes in float32; it is never rounded
// where it was not, float16 is as the weight's gradient is.
TEST(ProductEpilogues, AddUpSixteenBitsAsTheGraphDoes) {
  const std::string wide = After(ProductEpilogues, GeluSum("bfloat16", true), kGpu);
  EXPECT_NE(wide.find("float32[16, 40], %6: float32[40] = matmul_fused@1(%3, %4) {transpose_a = "
                      "true, transpose_b = false, epilogue = \"sum_b\", widen = true}"),
            std::string::npos)
      << wide;
  EXPECT_NE(wide.find("output \"b\" %6"), std::string::npos) << wide;
  const std::string narrow = After(ProductEpilogues, GeluSum("bfloat16", false), kGpu);
  EXPECT_NE(narrow.find("sum@1("), std::string::npos) << narrow;
  const std::string half = After(ProductEpilogues, GeluSum("float16", false), kGpu);
  EXPECT_NE(half.find("float16[40] = matmul_fused@1(%0, %1, %2) {transpose_a = false, transpose_b "
                      "= true, epilogue = \"gelu_tanh_grad_sum\", widen = false}\n%6: float32[40] "
                      "= cast@1(%5)"),
            std::string::npos)
      << half;
}

// What a library gave, such as the gradient of attention, is added up by the product that reads it,
// on either side; in front of whatever reads the sum.
TEST(ProductEpilogues, AddUpAnOperand) {
  EXPECT_EQ(After(ProductEpilogues, R"(input %0 "x": float32[8, 16]
input %1 "g": float32[2, 4, 40]
%2: float32[1, 1, 40] = sum@1(%1) {axis = ints[0, 1], keepdims = true}
%3: float32[40] = reshape@1(%2) {shape = shape[40]}
%4: float32[8, 40] = reshape@1(%1) {shape = shape[8, 40]}
%5: float32[16, 40] = matmul@1(%0, %4) {transpose_a = true}
output "b" %3
output "w" %5
)",
                  kGpu),
            R"(input %0 "x": float32[8, 16]
input %1 "g": float32[2, 4, 40]
%2: float32[8, 40] = reshape@1(%1) {shape = shape[8, 40]}
%3: float32[16, 40], %4: float32[40] = matmul_fused@1(%0, %2) {transpose_a = true, transpose_b = false, epilogue = "sum_b", widen = false}
%5: float32[1, 1, 40] = reshape@1(%4) {shape = shape[1, 1, 40]}
%6: float32[40] = reshape@1(%5) {shape = shape[40]}
output "b" %6
output "w" %3
)");
  EXPECT_EQ(After(ProductEpilogues, R"(input %0 "x": float32[8, 16]
input %1 "g": float32[8, 40]
%2: float32[40, 16] = matmul@1(%1, %0) {transpose_a = true}
%3: float32[40] = sum@1(%1) {axis = ints[0], keepdims = false}
output "b" %3
output "w" %2
)",
                  kGpu),
            R"(input %0 "x": float32[8, 16]
input %1 "g": float32[8, 40]
%2: float32[40, 16], %3: float32[40] = matmul_fused@1(%1, %0) {transpose_a = true, transpose_b = false, epilogue = "sum_a", widen = false}
output "b" %3
output "w" %2
)");
}

// Rows that a loop makes; a sum over columns, or of some rows; a product that reads something else,
// or that sums over columns; one whose other operand comes later than who reads the sum.
TEST(ProductEpilogues, LeaveOtherSums) {
  for (const std::string nodes : {R"(%2: float32[8, 40] = exp@1(%1)
%3: float32[40] = sum@1(%2) {axis = ints[0], keepdims = false}
%4: float32[16, 40] = matmul@1(%0, %2) {transpose_a = true, transpose_b = false}
)",
                                  R"(%2: float32[8] = sum@1(%1) {axis = ints[1], keepdims = false}
%3: float32[16, 40] = matmul@1(%0, %1) {transpose_a = true, transpose_b = false}
)",
                                  R"(%2: float32[2, 4, 40] = reshape@1(%1) {shape = shape[2, 4, 40]}
%3: float32[2, 40] = sum@1(%2) {axis = ints[1], keepdims = false}
%4: float32[16, 40] = matmul@1(%0, %1) {transpose_a = true, transpose_b = false}
)",
                                  R"(%2: float32[4, 80] = reshape@1(%1) {shape = shape[4, 80]}
%3: float32[80] = sum@1(%2) {axis = ints[0], keepdims = false}
%4: float32[16, 40] = matmul@1(%0, %1) {transpose_a = true, transpose_b = false}
)",
                                  R"(%2: float32[40] = sum@1(%1) {axis = ints[0], keepdims = false}
%3: float32[8, 8] = matmul@1(%1, %1) {transpose_a = false, transpose_b = true}
)",
                                  R"(%2: float32[40] = sum@1(%1) {axis = ints[0], keepdims = false}
%3: float32[8, 16] = multiply@1(%0, %0)
%4: float32[16, 40] = matmul@1(%3, %1) {transpose_a = true, transpose_b = false}
)"}) {
    const std::string text =
        StrCat("input %0 \"x\": float32[8, 16]\ninput %1 \"g\": float32[8, 40]\n", nodes);
    const auto name = [&](size_t line) { return nodes.substr(line, nodes.find(':', line) - line); };
    const std::string sum = name(nodes.rfind('%', nodes.rfind('=', nodes.find("sum@1"))));
    const std::string product = name(nodes.rfind('%', nodes.rfind('=', nodes.find("matmul@1"))));
    const std::string whole = StrCat(text, "output \"s\" ", sum, "\noutput \"w\" ", product, "\n");
    EXPECT_EQ(After(ProductEpilogues, whole, kGpu), whole);
  }
}

// A CPU adds up in the loop that makes the rows.
TEST(ProductEpilogues, AreForGpus) {
  Graph g = Parse("ostria-graph 1\n" + std::string(kRelu));
  Optimise(g);
  EXPECT_EQ(Print(g).find("relu_mask"), std::string::npos);
}

}  // namespace
}  // namespace ostria
