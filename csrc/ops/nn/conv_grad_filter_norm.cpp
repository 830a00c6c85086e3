// SPDX-License-Identifier: Apache-2.0
// conv_grad_filter of an image that was never stored: it is normalised again while it is read.
#include "ops/common/build.h"
#include "ops/common/conv.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"factor"}, {"shift"}, {"g"}};
constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts},
                              {"padding", AttrType::kInts},
                              {"dilation", AttrType::kInts},
                              {"groups", AttrType::kInt},
                              {"size", AttrType::kShape}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  for (int i : {1, 2}) RequireChannels(c, i, InferChannels(c, 0));
  const ValueType types[] = {c.input(0), c.input(3)};
  std::vector<ValueType> out;
  InferTypes(kConvGradFilter, types, c.attrs(), &out);
  c.Out(out[0]);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kConvGradFilterNorm, in, attrs);
  const Value z = b(kRelu, {b(kAdd, {b(kMultiply, {in[0], in[1]}), in[2]})});
  return {b(kConvGradFilter, {z, in[3]}, {attrs.begin(), attrs.end()})};
}

}  // namespace

constinit const OpDef ops::kConvGradFilterNorm = {
    .name = "conv_grad_filter_norm",
    .doc =
        "The gradient of a convolution of relu(x factor + shift) with respect to its kernel.\n"
        "strides: as for the convolution.\n"
        "padding: as for the convolution.\n"
        "dilation: as for the convolution.\n"
        "groups: as for the convolution.\n"
        "size: the kernel's spatial sizes.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false, .internal = true, .amp = Amp::kLow},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
