// SPDX-License-Identifier: Apache-2.0
#include "backend_cuda/evaluate.h"
#include "ops/common/conv.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

struct Case {
  Shape image, kernel;
  Ints strides, padding, dilation;
  int64_t groups;
};

double ToleranceOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat64: return 1e-13;
    case DType::kFloat32: return 2e-5;
    case DType::kFloat16: return 4e-3;
    default: return 3e-2;
  }
}

void ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs,
                   const std::vector<Tensor>& inputs, std::string_view impl) {
  const Tensor want = EvaluateOnCpu(op, attrs, inputs)[0];
  for (const int64_t skew : {0, 1}) {
    SCOPED_TRACE(StrCat(op.name, " of ", inputs[0].dtype(), inputs[0].shape(), " and ",
                        inputs[1].shape(), ", skew ", skew));
    const Placement place{.impl = impl, .skew = skew};
    const Tensor got = EvaluateOnCuda(op, attrs, inputs, place)[0];
    ExpectClose(got, want, ToleranceOf(want.dtype()));
    // Again, in another order of threads.
    ExpectClose(EvaluateOnCuda(op, attrs, inputs, place)[0], got, 0);
  }
}

// The convolution and both gradients.
void ExpectAllThree(const Case& c, DType dtype, std::string_view impl) {
  const int dims = c.image.rank() - 2;
  const std::vector<Attr> attrs = {c.strides, c.padding, c.dilation, c.groups};
  const Tensor x = RandomTensor(dtype, c.image, -1, 1, 1);
  const Tensor w = RandomTensor(dtype, c.kernel, -1, 1, 2);
  ExpectTheCpus(ops::ConvOp(dims), attrs, {x, w}, impl);
  const Tensor y = EvaluateOnCpu(ops::ConvOp(dims), attrs, {x, w})[0];
  const Tensor g = RandomTensor(dtype, y.shape(), -0.3, 0.3, 3);
  ExpectTheCpus(ops::kConvGradInput, ops::WithSize(attrs, c.image), {g, w}, impl);
  ExpectTheCpus(ops::kConvGradFilter, ops::WithSize(attrs, c.kernel), {x, g}, impl);
}

TEST(CudaDirectConv, IsTheCpusInEveryDType) {
  const Case cases[] = {
      {{2, 9, 3}, {4, 3, 3}, {2}, {1, 2}, {1}, 1},
      {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 1},
      {{2, 9, 7, 4}, {6, 3, 2, 2}, {2, 1}, {1, 1, 0, 2}, {1, 2}, 2},
      {{1, 8, 7, 35}, {5, 3, 3, 35}, {1, 2}, {2, 0, 1, 1}, {2, 1}, 1},
      {{1, 5, 4, 6, 4}, {2, 2, 3, 2, 4}, {1, 2, 2}, {1, 0, 1, 1, 0, 0}, {1, 1, 2}, 1},
      {{1, 7, 8, 6}, {6, 3, 3, 1}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 6},
  };
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64}) {
    for (const Case& c : cases) ExpectAllThree(c, dtype, "direct");
  }
}

// Channels that fill vectors and that do not, several tiles of them, several results per channel,
// slices of pixels.
const Case kDepthwiseCases[] = {
    {{2, 11, 8}, {8, 3, 1}, {1}, {1, 1}, {1}, 8},
    {{2, 9, 7, 16}, {16, 3, 3, 1}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 16},
    {{1, 9, 11, 5}, {5, 3, 5, 1}, {2, 3}, {0, 2, 1, 2}, {1, 1}, 5},
    {{1, 6, 7, 4}, {12, 3, 3, 1}, {2, 1}, {1, 1, 2, 2}, {1, 2}, 4},
    {{1, 4, 5, 280}, {280, 2, 2, 1}, {1, 2}, {0, 1, 0, 1}, {2, 1}, 280},
    {{1, 3, 4, 5, 8}, {8, 2, 3, 2, 1}, {1, 2, 1}, {1, 0, 1, 1, 0, 0}, {1, 1, 2}, 8},
    {{1, 23, 29, 2}, {2, 3, 3, 1}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 2},
    {{1, 31, 31, 8}, {8, 31, 31, 1}, {1, 1}, {3, 3, 2, 2}, {1, 1}, 8},
};

TEST(CudaDepthwise, IsTheCpusInEveryDType) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    for (const Case& c : kDepthwiseCases) ExpectAllThree(c, dtype, "depthwise");
  }
}

TEST(CudaDepthwise, AddsAndActivatesAsTheCpu) {
  const Case& c = kDepthwiseCases[1];
  for (const DType dtype : {DType::kBFloat16, DType::kFloat32}) {
    const Tensor x = RandomTensor(dtype, c.image, -1, 1, 1);
    const Tensor w = RandomTensor(dtype, c.kernel, -1, 1, 2);
    const Tensor bias = RandomTensor(dtype, {16}, -1, 1, 3);
    const Tensor addend = RandomTensor(dtype, c.image, -1, 1, 4);
    for (const char* activation :
         {"none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"}) {
      const std::vector<Attr> attrs = {c.strides, c.padding, c.dilation, c.groups,
                                       std::string(activation)};
      ExpectTheCpus(ops::kConvFused, attrs, {x, w}, "depthwise");
      ExpectTheCpus(ops::kConvFused, attrs, {x, w, bias}, "depthwise");
      ExpectTheCpus(ops::kConvFused, attrs, {x, w, bias, addend}, "depthwise");
    }
  }
}

}  // namespace
}  // namespace ostria
