// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

constexpr DType kFloats[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64};

struct Case {
  Shape shape;
  int64_t axis;
};
const Case kCases[] = {{{71}, 0},        {{1}, 0},        {{3, 229}, 1},          {{70, 33}, -1},
                       {{71, 29}, 0},    {{5, 9, 71}, 1}, {{2, 3, 4, 5}, 2},      {{40, 1, 2}, 0},
                       {{2, 33, 64}, 2}, {{65, 5}, 1},    {{1, 2, 3, 4, 5, 6}, 5}};

// All directions, with equal bits.
void ExpectTheCpus(const OpDef& op, DType dtype, const Case& c, int inputs, double low,
                   double high) {
  for (const bool exclusive : {false, true}) {
    for (const bool reverse : {false, true}) {
      SCOPED_TRACE(StrCat(op.name, " ", dtype, " ", c.shape, " axis ", c.axis, exclusive, reverse));
      std::vector<Tensor> in;
      for (int i = 0; i < inputs; ++i) {
        in.push_back(RandomTensor(dtype, c.shape, low, high, static_cast<uint64_t>(i) + 1));
      }
      const std::vector<Attr> attrs = {c.axis, exclusive, reverse};
      const std::vector<Tensor> got = EvaluateOnCuda(op, attrs, in);
      if (got.empty()) return;
      ExpectClose(got[0], EvaluateOnCpu(op, attrs, in)[0], 0);
    }
  }
}

TEST(CudaScan, FloatsInTheCpusOrder) {
  for (const DType dtype : kFloats) {
    for (const Case& c : kCases) {
      ExpectTheCpus(ops::kCumsum, dtype, c, 1, -1, 1);
      ExpectTheCpus(ops::kCumprod, dtype, c, 1, 0.5, 1.5);
      ExpectTheCpus(ops::kLinearScan, dtype, c, 2, -1, 1);
    }
  }
}

TEST(CudaScan, IntegersWrapAround) {
  for (const DType dtype : {DType::kInt64, DType::kUInt64}) {
    for (const Case& c : kCases) {
      ExpectTheCpus(ops::kCumsum, dtype, c, 1, 0, 1e18);
      ExpectTheCpus(ops::kCumprod, dtype, c, 1, 1, 100);
    }
  }
}

// Sums along long axes are grouped otherwise than on the CPU; whole numbers do not show it.
TEST(CudaScan, LongAxesInChunks) {
  for (const Case& c : {Case{{5001}, 0}, Case{{2, 4100, 3}, 1}}) {
    for (const DType dtype : kFloats) {
      const int most = dtype == DType::kBFloat16 || dtype == DType::kFloat16 ? 1 : 1000;
      SCOPED_TRACE(StrCat(c.shape, " ", dtype));
      Tensor x = RandomTensor(DType::kInt32, c.shape, -most, most + 1, 3);
      const Tensor numbers = EvaluateOnCpu(ops::kCast, {dtype}, {x})[0];
      for (const bool exclusive : {false, true}) {
        for (const bool reverse : {false, true}) {
          const std::vector<Attr> attrs = {c.axis, exclusive, reverse};
          ExpectClose(EvaluateOnCuda(ops::kCumsum, attrs, {numbers}, "chunks")[0],
                      EvaluateOnCpu(ops::kCumsum, attrs, {numbers})[0], 0);
        }
      }
    }
    ExpectTheCpus(ops::kCumsum, DType::kInt64, c, 1, 0, 1e18);
    ExpectTheCpus(ops::kCumprod, DType::kUInt64, c, 1, 1, 100);
  }
}

// Nothing stands before the first element, so an infinite factor of it makes no NaN.
TEST(CudaScan, NothingComesBeforeTheFirstElement) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Shape& shape : {Shape{2, 3}, Shape{2, 3, 2}}) {
    Tensor a = Tensor::Zeros(DType::kFloat32, shape), b = Tensor::Zeros(DType::kFloat32, shape);
    a.data<float>()[0] = infinity;
    b.data<float>()[0] = 2;
    const Tensor y = EvaluateOnCuda(ops::kLinearScan, {int64_t{1}, false, false}, {a, b})[0];
    EXPECT_EQ(y.data<float>()[0], 2);
    EXPECT_EQ(y.data<float>()[a.numel() / 2], 0);
  }
}

}  // namespace
}  // namespace ostria
