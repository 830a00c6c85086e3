// SPDX-License-Identifier: Apache-2.0
// The graphs that convolutions become, run by the loops of the fake cuDNN beside the CPU: layouts,
// strides, padding, roles and what is fused.
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

struct Conv {
  Shape x, w;
  Ints strides, padding, dilation;
  int64_t groups = 1;
};

const Conv kConvs[] = {
    {{2, 9, 3}, {4, 3, 3}, {1}, {1, 1}, {1}},
    {{2, 13, 4}, {6, 3, 2}, {2}, {3, 0}, {3}, 2},
    {{2, 7, 9, 3}, {5, 3, 2, 3}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
    {{3, 8, 11, 6}, {4, 3, 2, 3}, {2, 3}, {0, 1, 2, 0}, {1, 2}, 2},
    {{2, 6, 5, 4}, {8, 3, 3, 1}, {1, 2}, {1, 1, 1, 1}, {1, 1}, 4},
    {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
    {{2, 4, 5, 6, 2}, {3, 2, 3, 2, 2}, {2, 1, 1}, {1, 0, 0, 2, 1, 1}, {1, 1, 2}},
};

std::vector<Attr> Attrs(const Conv& c) { return {c.strides, c.padding, c.dilation, c.groups}; }

const OpDef& OpOf(const Conv& c) {
  const OpDef* const ops[] = {&ops::kConv1d, &ops::kConv2d, &ops::kConv3d};
  return *ops[c.strides.size() - 1];
}

std::vector<Attr> WithSpatial(const Conv& c, const Shape& of) {
  std::vector<Attr> attrs = Attrs(c);
  attrs.push_back(Shape(of.dims().subspan(1, c.strides.size())));
  return attrs;
}

double Tolerance(DType dtype) {
  return dtype == DType::kFloat32 ? 1e-5 : dtype == DType::kFloat16 ? 2e-3 : 2e-2;
}

constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

TEST(CudaConv, ForwardAndGradientsAreTheCpus) {
  for (const Conv& c : kConvs) {
    for (const DType dtype : kTypes) {
      const Tensor x = RandomTensor(dtype, c.x, -1, 1, 1), w = RandomTensor(dtype, c.w, -1, 1, 2);
      const double tolerance = Tolerance(dtype);
      const Tensor y = EvaluateOnCpu(OpOf(c), Attrs(c), {x, w})[0];
      ExpectClose(EvaluateOnCuda(OpOf(c), Attrs(c), {x, w}, "cudnn")[0], y, tolerance);
      const Tensor g = RandomTensor(dtype, y.shape(), -1, 1, 3);
      const auto for_input = WithSpatial(c, c.x), for_filter = WithSpatial(c, c.w);
      ExpectClose(EvaluateOnCuda(ops::kConvGradInput, for_input, {g, w}, "cudnn")[0],
                  EvaluateOnCpu(ops::kConvGradInput, for_input, {g, w})[0], tolerance);
      ExpectClose(EvaluateOnCuda(ops::kConvGradFilter, for_filter, {x, g}, "cudnn")[0],
                  EvaluateOnCpu(ops::kConvGradFilter, for_filter, {x, g})[0], tolerance);
    }
  }
}

TEST(CudaConv, WhatIsFusedIsTheCpus) {
  for (const Conv& c : {kConvs[1], kConvs[3], kConvs[6]}) {
    for (const DType dtype : kTypes) {
      const Tensor x = RandomTensor(dtype, c.x, -1, 1, 1), w = RandomTensor(dtype, c.w, -1, 1, 2);
      const Shape y = EvaluateOnCpu(OpOf(c), Attrs(c), {x, w})[0].shape();
      const Tensor bias = RandomTensor(dtype, {c.w[0]}, -1, 1, 3);
      const Tensor addend = RandomTensor(dtype, y, -1, 1, 4);
      for (const std::string activation :
           {"none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"}) {
        std::vector<Attr> attrs = Attrs(c);
        attrs.push_back(activation);
        std::vector<Tensor> inputs = {x, w};
        for (const Tensor* more : {&bias, &addend}) {
          inputs.push_back(*more);
          ExpectClose(EvaluateOnCuda(ops::kConvFused, attrs, inputs, "cudnn")[0],
                      EvaluateOnCpu(ops::kConvFused, attrs, inputs)[0], Tolerance(dtype));
        }
      }
    }
  }
}

}  // namespace
}  // namespace ostria
