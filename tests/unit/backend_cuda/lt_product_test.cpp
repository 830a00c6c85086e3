// SPDX-License-Identifier: Apache-2.0
// Products of well-known models, as cuBLASLt is asked for them: shapes, alignment and epilogues in
// one golden table; and how nodes become problems where the table is silent.
#include "backend/cuda/cublaslt/product.h"

#include <gtest/gtest.h>

#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

struct Node {
  std::vector<MemDesc> in, out;
  std::vector<Attr> attrs;
  const OpDef* op = &ops::kMatmul;
  DeviceProps device = Sm90();
  NodeDesc desc() const { return {op, attrs, in, out, &device}; }
};

Node Product(DType dtype, const Shape& a, const Shape& b, const Shape& y, bool ta, bool tb) {
  Node node;
  node.in = {MemDesc::Dense(dtype, a), MemDesc::Dense(dtype, b)};
  node.out = {MemDesc::Dense(dtype, y)};
  node.attrs = {ta, tb};
  return node;
}

std::string Describe(const Node& node) {
  LtProduct product;
  const Support s = DescribeLtProduct(node.desc(), &product);
  if (!s.ok) return s.reason;
  std::string out = DetailOf(product);
  if (product.is_plain()) return out;
  LtProblem fused;
  const Support epilogue = WithEpilogue(product, &fused);
  return StrCat(out, "; ",
                epilogue.ok ? StrCat("epilogue ", NameOf(fused.epilogue)) : epilogue.reason);
}

// A dense layer of `rows` rows: forward, gradient of the input, gradient of the weight.
std::string Layer(std::string_view name, DType dtype, int64_t rows, int64_t in, int64_t out,
                  const std::string& activation, bool bias) {
  Node forward = Product(dtype, {rows, in}, {in, out}, {rows, out}, false, false);
  if (bias || activation != "none") {
    forward.op = &ops::kMatmulFused;
    forward.attrs.insert(forward.attrs.end(), {activation, false});
    if (bias) forward.in.push_back(MemDesc::Dense(dtype, {out}));
  }
  const Node dx = Product(dtype, {rows, out}, {in, out}, {rows, in}, false, true);
  const Node dw = Product(dtype, {rows, in}, {rows, out}, {in, out}, true, false);
  return StrCat(name, ": ", Describe(forward), "\n  dx: ", Describe(dx), "\n  dw: ", Describe(dw),
                "\n");
}

TEST(LtProduct, OfModels) {
  constexpr DType f32 = DType::kFloat32, f16 = DType::kFloat16, bf16 = DType::kBFloat16;
  constexpr int64_t kGpt = 16 * 1024, kBert = 32 * 384;
  const std::string table = StrCat(
      "mlp, batch 128, float32\n",  //
      Layer("1", f32, 128, 784, 256, "relu", true), Layer("2", f32, 128, 256, 256, "relu", true),
      Layer("3", f32, 128, 256, 10, "none", true), "resnet-50, batch 256, float16\n",
      Layer("classifier", f16, 256, 2048, 1000, "none", true), "gpt-2 124M, 16 x 1024, bfloat16\n",
      Layer("qkv", bf16, kGpt, 768, 2304, "none", true),
      Layer("proj", bf16, kGpt, 768, 768, "none", true),
      Layer("fc1", bf16, kGpt, 768, 3072, "gelu_tanh", true),
      Layer("fc2", bf16, kGpt, 3072, 768, "none", true),
      Layer("head 50257", bf16, kGpt, 768, 50257, "none", false),
      Layer("head 50304", bf16, kGpt, 768, 50304, "none", false),
      "bert-large, 32 x 384, bfloat16\n", Layer("qkv", bf16, kBert, 1024, 1024, "none", true),
      Layer("fc1", bf16, kBert, 1024, 4096, "gelu", true),
      Layer("fc2", bf16, kBert, 4096, 1024, "none", true),
      Layer("pooler", bf16, 32, 1024, 1024, "tanh", true),
      Layer("next sentence", bf16, 32, 1024, 2, "none", true),
      Layer("masked words", bf16, kBert, 1024, 30522, "none", true));
  EXPECT_EQ(table, R"(mlp, batch 128, float32
1: nn 128x256x784; epilogue relu_bias
  dx: nt 128x784x256
  dw: tn 784x256x128
2: nn 128x256x256; epilogue relu_bias
  dx: nt 128x256x256
  dw: tn 256x256x128
3: nn 128x10x256, misaligned (ld of b 10, ld of y 10); epilogue bias
  dx: nt 128x256x10, misaligned (ld of a 10, ld of b 10)
  dw: tn 256x10x128, misaligned (ld of b 10, ld of y 10)
resnet-50, batch 256, float16
classifier: nn 256x1000x2048; epilogue bias
  dx: nt 256x2048x1000
  dw: tn 2048x1000x256
gpt-2 124M, 16 x 1024, bfloat16
qkv: nn 16384x2304x768; epilogue bias
  dx: nt 16384x768x2304
  dw: tn 768x2304x16384
proj: nn 16384x768x768; epilogue bias
  dx: nt 16384x768x768
  dw: tn 768x768x16384
fc1: nn 16384x3072x768; epilogue gelu_bias
  dx: nt 16384x768x3072
  dw: tn 768x3072x16384
fc2: nn 16384x768x3072; epilogue bias
  dx: nt 16384x3072x768
  dw: tn 3072x768x16384
head 50257: nn 16384x50257x768, misaligned (ld of b 50257, ld of y 50257)
  dx: nt 16384x768x50257, misaligned (ld of a 50257, ld of b 50257)
  dw: tn 768x50257x16384, misaligned (ld of b 50257, ld of y 50257)
head 50304: nn 16384x50304x768
  dx: nt 16384x768x50304
  dw: tn 768x50304x16384
bert-large, 32 x 384, bfloat16
qkv: nn 12288x1024x1024; epilogue bias
  dx: nt 12288x1024x1024
  dw: tn 1024x1024x12288
fc1: nn 12288x4096x1024; cuBLASLt has no gelu in an epilogue
  dx: nt 12288x1024x4096
  dw: tn 1024x4096x12288
fc2: nn 12288x1024x4096; epilogue bias
  dx: nt 12288x4096x1024
  dw: tn 4096x1024x12288
pooler: nn 32x1024x1024; cuBLASLt has no tanh in an epilogue
  dx: nt 32x1024x1024
  dw: tn 1024x1024x32
next sentence: nn 32x2x1024, misaligned (ld of b 2, ld of y 2); epilogue bias
  dx: nt 32x1024x2, misaligned (ld of a 2, ld of b 2)
  dw: tn 1024x2x32, misaligned (ld of b 2, ld of y 2)
masked words: nn 12288x30522x1024, misaligned (ld of b 30522, ld of y 30522); epilogue bias
  dx: nt 12288x1024x30522, misaligned (ld of a 30522, ld of b 30522)
  dw: tn 1024x30522x12288, misaligned (ld of b 30522, ld of y 30522)
)");
}

TEST(LtProduct, RowMajorBecomesTheTransposesColumnMajor) {
  LtProduct p;
  const Node node = Product(DType::kFloat16, {5, 71, 24}, {5, 40, 24}, {5, 71, 40}, false, true);
  ASSERT_TRUE(DescribeLtProduct(node.desc(), &p).ok);
  LtProblem want;
  want.transpose_a = true;
  want.a = {CUDA_R_16F, 24, 40, 24, 40 * 24};
  want.b = {CUDA_R_16F, 24, 71, 24, 71 * 24};
  want.d = {CUDA_R_16F, 40, 71, 40, 71 * 40};
  want.batches = 5;
  EXPECT_EQ(KeyOf(p.problem), KeyOf(want));
  EXPECT_TRUE(p.problem == want);
}

// A node's a is cuBLASLt's B, so the sum of the node's b is the gradient of a bias from A.
TEST(LtProduct, EpiloguesAreThoseOfTheTransposes) {
  using E = ops::Epilogue;
  struct Row {
    E epilogue;
    bool bias;
    cublasLtEpilogue_t lt;
  };
  for (const Row& row : {Row{E::kNone, false, CUBLASLT_EPILOGUE_DEFAULT},
                         Row{E::kNone, true, CUBLASLT_EPILOGUE_BIAS},
                         Row{E::kRelu, true, CUBLASLT_EPILOGUE_RELU_BIAS},
                         Row{E::kGeluTanh, false, CUBLASLT_EPILOGUE_GELU},
                         Row{E::kReluMask, false, CUBLASLT_EPILOGUE_RELU_AUX},
                         Row{E::kReluMask, true, CUBLASLT_EPILOGUE_RELU_AUX_BIAS},
                         Row{E::kGeluTanhKept, true, CUBLASLT_EPILOGUE_GELU_AUX_BIAS},
                         Row{E::kReluGrad, false, CUBLASLT_EPILOGUE_DRELU},
                         Row{E::kGeluTanhGrad, false, CUBLASLT_EPILOGUE_DGELU},
                         Row{E::kReluGradSum, false, CUBLASLT_EPILOGUE_DRELU_BGRAD},
                         Row{E::kGeluTanhGradSum, false, CUBLASLT_EPILOGUE_DGELU_BGRAD},
                         Row{E::kSumA, false, CUBLASLT_EPILOGUE_BGRADB},
                         Row{E::kSumB, false, CUBLASLT_EPILOGUE_BGRADA}}) {
    EXPECT_EQ(LtEpilogueOf(row.epilogue, row.bias), row.lt) << ops::DefOf(row.epilogue).name;
  }
  for (const E epilogue : {E::kTanh, E::kSigmoid, E::kGelu, E::kSilu}) {
    EXPECT_FALSE(LtEpilogueOf(epilogue, true)) << ops::DefOf(epilogue).name;
  }
}

// m, n x k of 40, 24 x 71: what the library writes is as long as the node's second result.
TEST(LtProduct, SumsAreAsLongAsTheNodesResult) {
  for (const auto& [name, length] :
       {std::pair{"sum_a", 40}, std::pair{"sum_b", 24}, std::pair{"relu_grad_sum", 24},
        std::pair{"gelu_tanh_grad_sum", 24}}) {
    Node node = Product(DType::kFloat32, {40, 71}, {71, 24}, {40, 24}, false, false);
    node.op = &ops::kMatmulFused;
    node.attrs.insert(node.attrs.end(), {std::string(name), false});
    LtProduct product;
    ASSERT_TRUE(DescribeLtProduct(node.desc(), &product).ok);
    LtProblem p;
    const Support s = WithEpilogue(product, &p);
    ASSERT_TRUE(s.ok) << name << ": " << s.reason;
    EXPECT_EQ(BiasLength(p), length) << name;
  }
}

TEST(LtProduct, MasksAreRowsOfWholeWords) {
  Node node = Product(DType::kBFloat16, {3, 71, 40}, {3, 40, 229}, {3, 71, 229}, false, false);
  node.op = &ops::kMatmulFused;
  node.attrs.insert(node.attrs.end(), {std::string("relu_mask"), false});
  LtProduct product;
  ASSERT_TRUE(DescribeLtProduct(node.desc(), &product).ok);
  LtProblem p;
  ASSERT_TRUE(WithEpilogue(product, &p).ok);
  EXPECT_EQ(p.aux_ld, 256);
  EXPECT_EQ(p.aux_stride, 71 * 256);
  EXPECT_EQ(p.aux_ld, AuxLd(p.epilogue, 229));
  EXPECT_EQ(p.aux_ld / 8, ops::MaskBytes(229));
}

TEST(LtProduct, RowsOfABatchThatSharesAWeightAreRowsOfOneProduct) {
  EXPECT_EQ(Describe(Product(DType::kFloat32, {6, 5, 8, 4}, {4, 12}, {6, 5, 8, 12}, false, false)),
            "nn 240x12x4");
  // One weight per entry of the first axis; the second is rows.
  EXPECT_EQ(
      Describe(Product(DType::kFloat32, {6, 5, 8, 4}, {6, 1, 4, 12}, {6, 5, 8, 12}, false, false)),
      "nn 40x12x4 batch 6");
  // What is left is a loop over the shorter axis.
  EXPECT_EQ(
      Describe(Product(DType::kFloat32, {6, 5, 8, 4}, {5, 4, 12}, {6, 5, 8, 12}, false, false)),
      "nn 8x12x4 batch 6, 5 runs");
}

TEST(LtProduct, OffsetsOfALoopLimitTheAlignment) {
  LtProduct p;
  const Node node = Product(DType::kFloat16, {6, 5, 1, 4}, {5, 4, 8}, {6, 5, 1, 8}, false, false);
  ASSERT_TRUE(DescribeLtProduct(node.desc(), &p).ok);
  ASSERT_EQ(p.runs(), 5);
  EXPECT_EQ(p.problem.b_alignment, 8);  // a begins 4 elements further each time
  EXPECT_EQ(p.problem.a_alignment, 16);
  EXPECT_EQ(p.problem.d_alignment, 16);
  EXPECT_EQ(Unaligned(p.problem).d_alignment, 2);
}

TEST(LtProduct, ComputesInFloat32UnlessToldOtherwise) {
  Node node = Product(DType::kFloat32, {8, 8}, {8, 8}, {8, 8}, false, false);
  LtProduct p;
  ASSERT_TRUE(DescribeLtProduct(node.desc(), &p).ok);
  EXPECT_EQ(p.problem.compute, CUBLAS_COMPUTE_32F);
  node.device.tf32 = true;
  ASSERT_TRUE(DescribeLtProduct(node.desc(), &p).ok);
  EXPECT_EQ(p.problem.compute, CUBLAS_COMPUTE_32F_FAST_TF32);
  EXPECT_EQ(DetailOf(p), "nn 8x8x8, tf32");
  node = Product(DType::kFloat64, {8, 8}, {8, 8}, {8, 8}, false, false);
  node.device.tf32 = true;
  ASSERT_TRUE(DescribeLtProduct(node.desc(), &p).ok);
  EXPECT_EQ(p.problem.compute, CUBLAS_COMPUTE_64F);
  EXPECT_EQ(p.problem.scale, CUDA_R_64F);
}

TEST(LtProduct, RefusesWithAReason) {
  EXPECT_EQ(Describe(Product(DType::kInt64, {8, 8}, {8, 8}, {8, 8}, false, false)),
            "is for floating-point numbers, not int64");
  EXPECT_EQ(Describe(Product(DType::kFloat32, {8, 0}, {0, 8}, {8, 8}, false, false)),
            "the inner size is 0");
  EXPECT_EQ(Describe(Product(DType::kFloat32, {1500, 1400, 2, 3}, {1400, 3, 2}, {1500, 1400, 2, 2},
                             false, false)),
            "its batch axes come down to 1400 products one after the other, more than 1024");
  Node node = Product(DType::kFloat32, {8, 8}, {8, 8}, {8, 8}, false, false);
  node.in[1].strides = {16, 2};
  EXPECT_EQ(Describe(node), "needs rows or columns of b that lie dense, not strides of 16 and 2");
  node = Product(DType::kFloat32, {8, 8}, {8, 8}, {8, 8}, false, false);
  node.out[0].strides = {1, 8};
  EXPECT_EQ(Describe(node), "needs a result whose rows lie dense");
}

TEST(LtProduct, ReadsRowsThatLieApart) {
  Node node = Product(DType::kFloat32, {8, 8}, {8, 12}, {8, 12}, false, false);
  node.in[1].strides = {20, 1};
  LtProduct p;
  ASSERT_TRUE(DescribeLtProduct(node.desc(), &p).ok);
  EXPECT_EQ(p.problem.a.ld, 20);
  EXPECT_FALSE(p.problem.transpose_a);
}

TEST(LtProduct, SmallOnesTakeLittleWorkspace) {
  const auto workspace = [](int64_t n) {
    LtProduct p;
    DescribeLtProduct(Product(DType::kFloat32, {n, n}, {n, n}, {n, n}, false, false).desc(), &p);
    return WorkspaceOf(p);
  };
  EXPECT_EQ(workspace(16), (1 << 20) + 32 * 16 * 16 * 4);
  EXPECT_EQ(workspace(4096), 32 << 20);
}

}  // namespace
}  // namespace ostria::cuda
