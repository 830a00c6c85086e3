// SPDX-License-Identifier: Apache-2.0
// The graphs that pools become, run by the loops of the fake cuDNN beside the CPU.
#include <cmath>

#include "backend/cuda/cudnn/nodes.h"
#include "backend_cuda/evaluate.h"
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;
constexpr DType kFloats[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32};

struct Case {
  Shape image;
  Ints window, strides, padding;
  std::vector<Attr> Attrs() const { return {window, strides, padding}; }
};
// One to three axes; windows that overlap, lie apart or leave gaps; padding on one side.
const Case kCases[] = {
    {{2, 7, 8}, {3}, {2}, {1, 2}},
    {{1, 1, 1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}},
    {{2, 9, 7, 16}, {3, 3}, {2, 2}, {1, 1, 0, 1}},
    {{1, 9, 11, 3}, {2, 3}, {3, 4}, {1, 0, 2, 1}},
    {{1, 16, 16, 8}, {16, 8}, {3, 1}, {0, 3, 5, 0}},  // as many positions as an index tells apart
    {{1, 5, 6, 7, 8}, {2, 3, 3}, {1, 2, 2}, {1, 0, 1, 1, 0, 2}},
};

std::vector<Tensor> ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs,
                                  const std::vector<Tensor>& inputs, double tolerance) {
  const std::vector<Tensor> want = EvaluateOnCpu(op, attrs, inputs);
  const auto got = EvaluateOnCuda(op, attrs, inputs, "cudnn");
  EXPECT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(StrCat(op.name, " of ", inputs[0].dtype(), inputs[0].shape(), ", output ", i));
    ExpectClose(got[i], want[i], tolerance);
  }
  return want;
}

TEST(CudnnPools, PoolsAndTheirGradientsAreTheCpus) {
  for (const DType dtype : kFloats) {
    const double tolerance = SizeOf(dtype) == 2 ? 0x1p-7 : 1e-6;
    for (const Case& c : kCases) {
      const int dims = c.image.rank() - 2;
      const std::vector<Attr> with_size = ops::PoolWithSize(c.Attrs(), c.image);
      // Few different numbers, so that there are equal maxima.
      const Tensor x = EvaluateOnCpu(ops::kFloor, {}, {RandomTensor(dtype, c.image, -3, 3, 1)})[0];
      const auto y = ExpectTheCpus(ops::MaxPoolOp(dims), c.Attrs(), {x}, 0);
      const Tensor g = RandomTensor(dtype, y[0].shape(), -1, 1, 2);
      ExpectTheCpus(ops::kMaxPoolGrad, with_size, {g, y[1]}, tolerance);
      const Tensor real = RandomTensor(dtype, c.image, -1, 1, 3);
      ExpectTheCpus(ops::AvgPoolOp(dims), c.Attrs(), {real}, tolerance);
      ExpectTheCpus(ops::kAvgPoolGrad, with_size, {g}, tolerance);
    }
  }
}

TEST(CudnnPools, ANanIsTheMaximum) {
  const Tensor x = RandomTensor(DType::kFloat32, {1, 4, 4, 8}, -1, 1, 1);
  x.data<float>()[5] = NAN;
  const std::vector<Attr> attrs = {Ints{2, 2}, Ints{2, 2}, Ints(4, 0)};
  const auto got = EvaluateOnCuda(ops::kMaxPool2d, attrs, {x}, "cudnn"),
             want = EvaluateOnCpu(ops::kMaxPool2d, attrs, {x});
  EXPECT_TRUE(std::isnan(got[0].data<float>()[5]));
  for (size_t i = 0; i < 2; ++i) ExpectClose(got[i], want[i], 0);
}

std::string RefusalOf(const OpDef& op, const std::vector<Attr>& attrs,
                      const std::vector<ValueType>& inputs) {
  const DeviceProps device = Sm90();
  std::vector<ValueType> outputs;
  InferTypes(op, inputs, attrs, &outputs);
  std::vector<MemDesc> in, out;
  for (const ValueType& t : inputs) in.push_back(MemDesc::Dense(t.dtype, t.shape));
  for (const ValueType& t : outputs) out.push_back(MemDesc::Dense(t.dtype, t.shape));
  return cuda::DescribePool({&op, attrs, in, out, &device}).refusal;
}

TEST(CudnnPools, WhatAnIndexCannotTellIsRefused) {
  Case c = kCases[4];
  const ValueType x{DType::kFloat32, c.image};
  EXPECT_EQ(RefusalOf(ops::kMaxPool2d, c.Attrs(), {x}), "");
  EXPECT_EQ(RefusalOf(ops::kMaxPool2d, c.Attrs(), {{DType::kFloat64, c.image}}),
            "computes in float32");
  const Shape y = {1, 2, 14, 8};
  EXPECT_EQ(RefusalOf(ops::kMaxPoolGrad, ops::PoolWithSize(c.Attrs(), c.image),
                      {{DType::kFloat32, y}, {DType::kInt32, y}}),
            "takes an index of uint8, not int32");
  c.window = {16, 9};
  EXPECT_EQ(RefusalOf(ops::kMaxPool2d, c.Attrs(), {x}),
            "its index tells 128 positions of a window apart, and there are 144");
}

}  // namespace
}  // namespace ostria
