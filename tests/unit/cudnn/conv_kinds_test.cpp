// SPDX-License-Identifier: Apache-2.0
// Which convolutions cuDNN takes beside those of ResNet-50: dimensions, groups, dilation, uneven
// padding, dtypes, and what may be fused.
#include "cudnn/real.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using Ints = std::vector<int64_t>;

struct Kind {
  std::string_view name;
  Shape x, w;
  Ints strides, padding, dilation;
  int64_t groups = 1;
};

const Kind kKinds[] = {
    {"1d", {8, 100, 32}, {64, 5, 32}, {1}, {2, 2}, {1}},
    {"1d strided, dilated", {8, 100, 32}, {64, 5, 32}, {2}, {4, 4}, {2}},
    {"1d causal", {8, 100, 32}, {64, 5, 32}, {1}, {4, 0}, {1}},
    {"2d odd channels", {8, 28, 28, 7}, {13, 3, 3, 7}, {1, 1}, {1, 1, 1, 1}, {1, 1}},
    {"2d one channel", {8, 28, 28, 1}, {32, 3, 3, 1}, {1, 1}, {1, 1, 1, 1}, {1, 1}},
    {"2d uneven padding", {8, 28, 28, 32}, {64, 3, 3, 32}, {2, 2}, {0, 1, 0, 1}, {1, 1}},
    {"2d dilated", {8, 28, 28, 32}, {64, 3, 3, 32}, {1, 1}, {2, 2, 2, 2}, {2, 2}},
    {"2d 4 groups", {8, 28, 28, 32}, {64, 3, 3, 8}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 4},
    {"2d depthwise", {8, 28, 28, 32}, {32, 3, 3, 1}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 32},
    {"3d", {2, 8, 14, 14, 16}, {32, 3, 3, 3, 16}, {1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1}},
};

std::string Table(const DeviceProps& device) {
  std::string out;
  for (const Kind& k : kKinds) {
    const OpDef& op = k.strides.size() == 1   ? ops::kConv1d
                      : k.strides.size() == 2 ? ops::kConv2d
                                              : ops::kConv3d;
    for (const DType dtype :
         {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64}) {
      const std::vector<Attr> attrs = {k.strides, k.padding, k.dilation, k.groups};
      const ValueType x{dtype, k.x}, w{dtype, k.w};
      std::vector<ValueType> y;
      InferTypes(op, std::vector{x, w}, attrs, &y);
      const auto spatial = [&](const Shape& s) {
        std::vector<Attr> with = attrs;
        with.push_back(Shape(s.dims().subspan(1, k.strides.size())));
        return with;
      };
      const std::string head = StrCat(dtype, " ", k.name, " ");
      out += StrCat(head, "forward: ", PlanOf(op, attrs, {x, w}, device), "\n");
      out += StrCat(head, "input: ", PlanOf(ops::kConvGradInput, spatial(k.x), {y[0], w}, device),
                    "\n");
      out += StrCat(head, "filter: ", PlanOf(ops::kConvGradFilter, spatial(k.w), {x, y[0]}, device),
                    "\n");
    }
  }
  return out;
}

std::string FusedTable(const DeviceProps& device) {
  std::string out;
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    const ValueType x{dtype, {8, 28, 28, 64}}, w{dtype, {64, 3, 3, 64}}, bias{dtype, {64}};
    for (const std::string activation :
         {"none", "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu"}) {
      const std::vector<Attr> attrs = {Ints{1, 1}, Ints{1, 1, 1, 1}, Ints{1, 1}, int64_t{1},
                                       activation};
      std::vector<ValueType> inputs = {x, w};
      for (const std::string_view more : {"", " bias", " bias addend"}) {
        if (!more.empty()) inputs.push_back(inputs.size() == 2 ? bias : x);
        out += StrCat(dtype, " ", activation, more, ": ",
                      PlanOf(ops::kConvFused, attrs, inputs, device), "\n");
      }
    }
  }
  return out;
}

TEST(CudnnConv, PlansEveryKind) {
  OSTRIA_NEEDS_CUDNN();
  ExpectGolden("conv_kinds", Table(DeviceNamed("h100")));
}

TEST(CudnnConv, PlansWhatIsFused) {
  OSTRIA_NEEDS_CUDNN();
  ExpectGolden("conv_fused", FusedTable(DeviceNamed("h100")));
}

}  // namespace
}  // namespace ostria::cuda
