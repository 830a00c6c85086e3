// SPDX-License-Identifier: Apache-2.0
// Products on the (fake) GPU beside the CPU's.
#include <algorithm>
#include <cmath>

#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {

Backend* CudaBackend();

namespace {

double ToleranceOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return 2e-3;
    case DType::kBFloat16: return 1.6e-2;
    case DType::kFloat64: return 1e-12;
    default: return 2e-5;
  }
}

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16};

Shape Swapped(const Shape& s, bool swap) {
  if (!swap) return s;
  std::vector<int64_t> sizes;
  for (int i = 0; i < s.rank(); ++i) sizes.push_back(s[i].value());
  std::swap(sizes[sizes.size() - 1], sizes[sizes.size() - 2]);
  return Shape::FromSizes(sizes);
}

void Compare(DType dtype, const Shape& a, const Shape& b, std::string_view impl = "") {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      SCOPED_TRACE(StrCat(dtype, ta ? " t" : " n", tb ? "t " : "n ", a, " ", b));
      const std::vector<Tensor> inputs = {RandomTensor(dtype, Swapped(a, ta), -1, 1, 1),
                                          RandomTensor(dtype, Swapped(b, tb), -1, 1, 2)};
      ExpectClose(EvaluateOnCuda(ops::kMatmul, {ta, tb}, inputs, impl)[0],
                  EvaluateOnCpu(ops::kMatmul, {ta, tb}, inputs)[0], ToleranceOf(dtype));
    }
  }
}

TEST(CudaMatmul, IsTheCpus) {
  for (const DType dtype : kFloats) {
    Compare(dtype, {71, 37}, {37, 29}, "cublaslt");
    Compare(dtype, {64, 32}, {32, 48}, "cublaslt");
    Compare(dtype, {1, 1}, {1, 1}, "cublaslt");
    Compare(dtype, {1, 229}, {229, 3}, "cublaslt");
    Compare(dtype, {19, 1}, {1, 23}, "cublaslt");
  }
}

// Few rows, few columns, both; whole and broken vectors; one warp or a block per row.
TEST(CudaMatmul, SkinnyIsTheCpus) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    for (const int64_t few : {1, 3, 8}) {
      Compare(dtype, {few, 37}, {37, 71}, "skinny");
      Compare(dtype, {71, 37}, {37, few}, "skinny");
      Compare(dtype, {few, 64}, {64, 32}, "skinny");
    }
    Compare(dtype, {2, 1031}, {1031, 5}, "skinny");
    // A block for each row of a, which has no whole number of vectors; and rows of a batch.
    for (const auto& [a, b] : {std::pair<Shape, Shape>{{9, 2309}, {2309, 2}},
                               std::pair<Shape, Shape>{{7, 1, 16}, {16, 4}}}) {
      const std::vector<Tensor> inputs = {RandomTensor(dtype, a, -1, 1, 1),
                                          RandomTensor(dtype, b, -1, 1, 2)};
      ExpectClose(EvaluateOnCuda(ops::kMatmul, {false, false}, inputs, "skinny")[0],
                  EvaluateOnCpu(ops::kMatmul, {false, false}, inputs)[0], 4 * ToleranceOf(dtype));
    }
    Compare(dtype, {1, 1}, {1, 1}, "skinny");
  }
}

TEST(CudaMatmul, SkinnyFusedIsTheCpus) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    for (const std::string activation :
         {"none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"}) {
      for (const bool widen : {false, true}) {
        for (const bool few_rows : {false, true}) {
          SCOPED_TRACE(StrCat(dtype, " ", activation, widen, few_rows));
          const int64_t m = few_rows ? 2 : 21, n = few_rows ? 21 : 2;
          const std::vector<Tensor> inputs = {RandomTensor(dtype, {m, 16}, -1, 1, 1),
                                              RandomTensor(dtype, {16, n}, -1, 1, 2),
                                              RandomTensor(dtype, {n}, -1, 1, 3)};
          const std::vector<Attr> attrs = {false, false, activation, widen};
          ExpectClose(EvaluateOnCuda(ops::kMatmulFused, attrs, inputs, "skinny")[0],
                      EvaluateOnCpu(ops::kMatmulFused, attrs, inputs)[0],
                      widen ? 2e-5 : ToleranceOf(dtype));
        }
      }
    }
  }
}

std::string SkinnyRefuses(DType dtype, const Shape& a, const Shape& b, const Shape& y) {
  const std::vector<MemDesc> in = {MemDesc::Dense(dtype, a), MemDesc::Dense(dtype, b)};
  const MemDesc out = MemDesc::Dense(dtype, y);
  const std::vector<Attr> attrs = {false, false};
  const DeviceProps device = Sm90();
  for (const KernelDef& k : CudaBackend()->Kernels()) {
    if (k.op == &ops::kMatmul && k.impl == "skinny") {
      return k.supports({&ops::kMatmul, attrs, in, {&out, 1}, &device}).reason;
    }
  }
  return "there is no such implementation";
}

TEST(CudaMatmul, SkinnySaysWhatItIsNotFor) {
  constexpr DType f32 = DType::kFloat32;
  EXPECT_EQ(SkinnyRefuses(f32, {8, 64}, {64, 32}, {8, 32}), "");
  EXPECT_EQ(SkinnyRefuses(f32, {9, 64}, {64, 32}, {9, 32}),
            "needs at most 8 rows or columns, not 9 x 32");
  EXPECT_EQ(SkinnyRefuses(DType::kFloat64, {1, 64}, {64, 32}, {1, 32}),
            "is for float32, float16 and bfloat16, not float64");
  EXPECT_EQ(SkinnyRefuses(f32, {3, 1, 64}, {3, 64, 32}, {3, 1, 32}),
            "is for one product, not a batch of them");
  EXPECT_EQ(SkinnyRefuses(f32, {8, 4096}, {4096, 32}, {8, 32}),
            "its small operand of 8 x 4096 elements fits no first cache");
  EXPECT_EQ(SkinnyRefuses(f32, {1, 4096}, {4096, 32}, {1, 32}),
            "sums of 4096 products want more than 1 blocks");
}

TEST(CudaMatmul, BatchesAreStridesOrLoops) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    Compare(dtype, {3, 7, 5}, {3, 5, 9});
    Compare(dtype, {4, 7, 5}, {5, 9});           // rows of one product
    Compare(dtype, {7, 5}, {4, 5, 9});           // one left-hand side
    Compare(dtype, {2, 3, 7, 5}, {2, 3, 5, 9});  // one batch
    Compare(dtype, {2, 3, 7, 5}, {3, 5, 9});     // broadcast over the first axis
    Compare(dtype, {2, 3, 7, 5}, {2, 1, 5, 9});  // over the second: rows of a batch of two
    Compare(dtype, {2, 1, 7, 5}, {1, 3, 5, 9});  // both
    Compare(dtype, {1, 1, 7, 5}, {5, 9});
  }
}

TEST(CudaMatmul, FusedIsTheCpus) {
  for (const DType dtype : kFloats) {
    for (const std::string activation :
         {"none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"}) {
      for (const bool bias : {false, true}) {
        for (const std::string_view impl : {"cublaslt", "cublaslt_kernel"}) {
          if (activation == "none" && !bias) continue;
          SCOPED_TRACE(StrCat(dtype, " ", activation, bias ? " bias " : " ", impl));
          std::vector<Tensor> inputs = {RandomTensor(dtype, {3, 17, 40}, -1, 1, 1),
                                        RandomTensor(dtype, {40, 29}, -1, 1, 2)};
          if (bias) inputs.push_back(RandomTensor(dtype, {29}, -1, 1, 3));
          const std::vector<Attr> attrs = {false, false, activation, false};
          ExpectClose(EvaluateOnCuda(ops::kMatmulFused, attrs, inputs, impl)[0],
                      EvaluateOnCpu(ops::kMatmulFused, attrs, inputs)[0], ToleranceOf(dtype) * 2);
        }
      }
    }
  }
}

TEST(CudaMatmul, EpilogueIsTheCpus) {
  for (const DType dtype : kFloats) {
    for (const std::string activation : {"none", "relu", "gelu_tanh"}) {
      if (dtype == DType::kFloat64 && activation == "gelu_tanh") continue;
      SCOPED_TRACE(StrCat(dtype, " ", activation));
      const std::vector<Tensor> inputs = {RandomTensor(dtype, {2, 8, 16}, -1, 1, 1),
                                          RandomTensor(dtype, {2, 24, 16}, -1, 1, 2),
                                          RandomTensor(dtype, {24}, -1, 1, 3)};
      const std::vector<Attr> attrs = {false, true, activation, false};
      ExpectClose(EvaluateOnCuda(ops::kMatmulFused, attrs, inputs, "cublaslt_epilogue")[0],
                  EvaluateOnCpu(ops::kMatmulFused, attrs, inputs)[0], ToleranceOf(dtype));
    }
  }
}

TEST(CudaMatmul, WidensSixteenBits) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    for (const bool bias : {false, true}) {
      std::vector<Tensor> inputs = {RandomTensor(dtype, {9, 64}, -1, 1, 1),
                                    RandomTensor(dtype, {64, 13}, -1, 1, 2)};
      if (bias) inputs.push_back(RandomTensor(dtype, {13}, -1, 1, 3));
      const std::vector<Attr> attrs = {false, false, std::string("relu"), true};
      ExpectClose(EvaluateOnCuda(ops::kMatmulFused, attrs, inputs)[0],
                  EvaluateOnCpu(ops::kMatmulFused, attrs, inputs)[0], 2e-5);
    }
  }
}

TEST(CudaMatmul, RoundsFloat32OnlyWhereAllowed) {
  const std::vector<Tensor> inputs = {RandomTensor(DType::kFloat32, {16, 32}, -1, 1, 1),
                                      RandomTensor(DType::kFloat32, {32, 24}, -1, 1, 2)};
  const Tensor want = EvaluateOnCpu(ops::kMatmul, {false, false}, inputs)[0];
  DeviceProps device = Sm90();
  device.tf32 = true;
  const Tensor got = EvaluateOnCuda(ops::kMatmul, {false, false}, inputs,
                                    {.impl = "cublaslt", .device = device})[0];
  ExpectClose(got, want, 5e-3);
  double worst = 0;
  for (int64_t i = 0; i < want.numel(); ++i) {
    worst = std::max<double>(worst, std::abs(got.data<float>()[i] - want.data<float>()[i]));
  }
  EXPECT_GT(worst, 1e-4);
}

// Operands that begin in the middle of a vector, as slices of a scan do.
TEST(CudaMatmul, TakesOperandsThatBeginAnywhere) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const std::vector<Tensor> inputs = {RandomTensor(dtype, {16, 32}, -1, 1, 1),
                                        RandomTensor(dtype, {32, 24}, -1, 1, 2),
                                        RandomTensor(dtype, {24}, -1, 1, 3)};
    const std::vector<Attr> attrs = {false, false, std::string("relu"), false};
    const Tensor want = EvaluateOnCpu(ops::kMatmulFused, attrs, inputs)[0];
    for (const std::string_view impl : {"cublaslt_epilogue", "cublaslt_kernel"}) {
      for (const int64_t skew : {1, 3, 8}) {
        const Placement placement{.impl = impl, .skew = skew};
        ExpectClose(EvaluateOnCuda(ops::kMatmulFused, attrs, inputs, placement)[0], want,
                    2 * ToleranceOf(dtype));
      }
    }
  }
}

}  // namespace
}  // namespace ostria
