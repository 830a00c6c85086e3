// SPDX-License-Identifier: Apache-2.0
// Batch and group normalisation beside the CPU's.
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

const DType kFloats[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64};

double Tolerance(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return 4e-3;
    case DType::kBFloat16: return 3e-2;
    case DType::kFloat32: return 1e-5;
    default: return 1e-12;
  }
}

std::vector<Tensor> ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs,
                                  const std::vector<Tensor>& in) {
  const double tolerance = Tolerance(in[0].dtype());
  const auto got = EvaluateOnCuda(op, attrs, in), want = EvaluateOnCpu(op, attrs, in);
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(StrCat(op.name, " output ", i));
    ExpectClose(got[i], want[i], tolerance);
  }
  // Slow on the host: where rows begin at boundaries, and where they do not.
  const Shape& shape = in[0].shape();
  const int64_t columns = shape[shape.rank() - 1].value();
  if (in[0].dtype() == DType::kFloat32 && (columns % 16 == 0 || columns == 6)) {
    ExpectPlacesDoNotMatter(op, attrs, in, tolerance);
  }
  return want;
}

// Few columns and many rows, odd columns, columns for several blocks, one row, one column.
const Shape kShapes[] = {{71, 229},       {1500, 4}, {2, 7, 5, 16}, {1, 3},
                         {40, 3, 2, 130}, {9, 1},    {6, 264}};

TEST(CudaBatchNorm, IsTheCpus) {
  for (const DType dtype : kFloats) {
    for (const Shape& shape : kShapes) {
      SCOPED_TRACE(StrCat(dtype, " ", shape));
      const Shape channels = {shape[shape.rank() - 1]};
      const Tensor x = RandomTensor(dtype, shape, -1, 3, 1),
                   g = RandomTensor(dtype, shape, -1, 1, 2);
      const Tensor scale = RandomTensor(dtype, channels, 0.5, 2, 3);
      const Tensor bias = RandomTensor(dtype, channels, -1, 1, 4);
      const auto y = ExpectTheCpus(ops::kBatchNorm, {0.01}, {x, scale, bias});
      ExpectTheCpus(ops::kBatchNormGrad, {0.01}, {g, x, scale, y[1], y[2]});
      ExpectTheCpus(ops::kBatchNormInference, {0.01}, {x, scale, bias, y[1], y[2]});
      ExpectTheCpus(ops::kBatchNormStats, {}, {x});
    }
  }
}

// Statistics of 16 bits are float32.
TEST(CudaBatchNorm, StatisticsAreWide) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    const Tensor x = RandomTensor(dtype, {71, 229}, -1, 3, 1);
    const auto got = EvaluateOnCuda(ops::kBatchNormStats, {}, {x}),
               want = EvaluateOnCpu(ops::kBatchNormStats, {}, {x});
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(got[i].dtype(), DType::kFloat32);
      ExpectClose(got[i], want[i], 1e-5);
    }
  }
}

TEST(CudaBatchNorm, KeepsVarianceFarFromZero) {
  const Tensor x = RandomTensor(DType::kFloat32, {700, 8}, 9999, 10001, 1);
  const Tensor one = RandomTensor(DType::kFloat32, {8}, 1, 1, 2);
  const auto in = {x, one, one};
  const Tensor wide = RandomTensor(DType::kFloat64, {700, 8}, 0, 1, 1);
  for (int64_t i = 0; i < x.numel(); ++i) wide.data<double>()[i] = x.data<float>()[i];
  const Tensor ones = RandomTensor(DType::kFloat64, {8}, 1, 1, 2);
  const Tensor got = EvaluateOnCuda(ops::kBatchNorm, {0.0}, in)[2];
  const Tensor want = EvaluateOnCpu(ops::kBatchNorm, {0.0}, {wide, ones, ones})[2];
  for (int i = 0; i < 8; ++i) EXPECT_NEAR(got.data<float>()[i], want.data<double>()[i], 1e-4);
}

TEST(CudaGroupNorm, IsTheCpus) {
  for (const DType dtype : kFloats) {
    for (const auto& [shape, groups] : {std::pair{Shape{3, 7, 5, 16}, 4},
                                        {Shape{2, 71, 12}, 1},
                                        {Shape{1, 9, 6}, 6},
                                        {Shape{5, 300, 3}, 3},
                                        {Shape{40, 1, 264}, 8}}) {
      SCOPED_TRACE(StrCat(dtype, " ", shape, " in ", groups));
      const Shape channels = {shape[shape.rank() - 1]};
      const Tensor x = RandomTensor(dtype, shape, -1, 3, 1),
                   g = RandomTensor(dtype, shape, -1, 1, 2);
      const Tensor scale = RandomTensor(dtype, channels, 0.5, 2, 3);
      const Tensor bias = RandomTensor(dtype, channels, -1, 1, 4);
      const auto y = ExpectTheCpus(ops::kGroupNorm, {0.01, int64_t{groups}}, {x, scale, bias});
      ExpectTheCpus(ops::kGroupNormGrad, {int64_t{groups}}, {g, x, scale, y[1], y[2]});
    }
  }
}

}  // namespace
}  // namespace ostria
