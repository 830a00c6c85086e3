// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>

#include "backend_cuda/evaluate.h"
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;
constexpr DType kFloats[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64};

struct Case {
  Shape image;
  Ints window, strides, padding;
};
// One to three axes; windows that overlap, lie apart or leave gaps; channels that fill vectors and
// that do not; a window with more positions than a byte counts; several blocks.
const Case kCases[] = {
    {{2, 7, 8}, {3}, {2}, {1, 2}},
    {{1, 1, 1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}},
    {{2, 9, 7, 16}, {3, 3}, {2, 2}, {1, 1, 0, 1}},
    {{2, 8, 6, 3}, {2, 2}, {2, 2}, {0, 0, 0, 0}},
    {{1, 9, 11, 8}, {2, 3}, {3, 4}, {1, 0, 2, 1}},
    {{1, 20, 20, 8}, {17, 16}, {3, 1}, {0, 3, 5, 0}},
    {{1, 5, 6, 7, 8}, {2, 3, 3}, {1, 2, 2}, {1, 0, 1, 1, 0, 2}},
    {{1, 71, 23, 24}, {3, 3}, {1, 1}, {1, 1, 1, 1}},
};

// Few different numbers, so that there are equal maxima, and some NaN.
Tensor Image(DType dtype, const Shape& shape) {
  Tensor t = RandomTensor(dtype, shape, -3, 3, 1);
  const Tensor round = EvaluateOnCpu(ops::kFloor, {}, {t})[0];
  const Tensor nan = Tensor::Scalar(dtype, NAN);
  t = round;
  for (int64_t i = 5; i < t.numel(); i += 97) {
    std::memcpy(static_cast<char*>(t.raw()) + i * SizeOf(dtype), nan.raw(),
                static_cast<size_t>(SizeOf(dtype)));
  }
  return t;
}

void ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs,
                   const std::vector<Tensor>& inputs, double tolerance) {
  const std::vector<Tensor> want = EvaluateOnCpu(op, attrs, inputs);
  for (const int64_t skew : {0, 1}) {
    const std::vector<Tensor> got = EvaluateOnCuda(op, attrs, inputs, Placement{.skew = skew});
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      SCOPED_TRACE(StrCat(op.name, " of ", inputs[0].dtype(), inputs[0].shape(), ", output ", i,
                          ", skew ", skew));
      ExpectClose(got[i], want[i], tolerance);
    }
  }
}

TEST(CudaPool, PoolsAndTheirGradientsAreTheCpus) {
  for (const DType dtype : kFloats) {
    for (const Case& c : kCases) {
      const int dims = c.image.rank() - 2;
      const std::vector<Attr> attrs = {c.window, c.strides, c.padding};
      const std::vector<Attr> with_size = ops::PoolWithSize(attrs, c.image);
      const Tensor x = Image(dtype, c.image);
      ExpectTheCpus(ops::MaxPoolOp(dims), attrs, {x}, 0x1p-60);
      const std::vector<Tensor> y = EvaluateOnCpu(ops::MaxPoolOp(dims), attrs, {x});
      const Tensor g = RandomTensor(dtype, y[0].shape(), -1, 1, 2);
      ExpectTheCpus(ops::kMaxPoolGrad, with_size, {g, y[1]}, 0);
      const Tensor real = RandomTensor(dtype, c.image, -1, 1, 3);
      ExpectTheCpus(ops::AvgPoolOp(dims), attrs, {real}, 0);
      // Of half types, shares are products with a reciprocal.
      ExpectTheCpus(ops::kAvgPoolGrad, with_size, {g}, SizeOf(dtype) == 2 ? 0x1p-8 : 0);
    }
  }
}

TEST(CudaResample, InterpolatesAsTheCpu) {
  for (const DType dtype : kFloats) {
    const double tolerance = dtype == DType::kFloat64 ? 1e-14 : SizeOf(dtype) == 4 ? 1e-6 : 0.01;
    for (const char* method : {"bilinear", "bicubic"}) {
      for (const int64_t size : {1, 5, 23, 229}) {
        for (const Shape& shape : {Shape{3, 23, 8}, Shape{2, 23, 5}, Shape{1, 1, 1}}) {
          for (const bool transpose : {false, true}) {
            const std::vector<Attr> attrs = {int64_t{1}, size, std::string(method), transpose};
            ExpectTheCpus(ops::kResample, attrs, {RandomTensor(dtype, shape, -1, 1, 4)}, tolerance);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace ostria
