// SPDX-License-Identifier: Apache-2.0
// conv_fused: activation(convolution + bias + addend) in one pass over the result. A pass makes it
// after differentiation.
#include "ops/common/activation.h"
#include "ops/common/conv.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {
    {"x"}, {"kernel"}, {"bias", Arity::kOptional}, {"addend", Arity::kOptional}};
constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts},
                              {"padding", AttrType::kInts},
                              {"dilation", AttrType::kInts},
                              {"groups", AttrType::kInt},
                              {"activation", AttrType::kString, "\"none\""}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  const int dims = SpatialDims(c, 0);
  const Shape y = InferConv(c, dims, c.shape(0), c.shape(1));
  const Dim channels = y[dims + 1];
  if (c.size() >= 3) {
    RequireSameDType(c, 0, 2);
    if (c.shape(2).rank() != 1 || !(c.shape(2)[0] == channels)) {
      c.Fail("'bias' must have shape [", channels, "], one value per channel of the result ", y,
             ", but has shape ", c.shape(2));
    }
  }
  if (c.size() == 4) {
    RequireSameDType(c, 0, 3);
    if (!(c.shape(3) == y)) {
      c.Fail("'addend' must have the shape of the result, ", y, ", but has shape ", c.shape(3));
    }
  }
  RequireActivation(c, ConvAttr::kActivation);
  c.Out(c.dtype(0), y);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kConvFused, in, attrs);
  Value y = b(ConvOp(b.shape(in[0]).rank() - 2), in.first(2), WithoutSize(attrs));
  for (Value v : in.subspan(2)) y = b(kAdd, {y, v});
  Activation activation = Activation::kNone;
  ParseActivation(std::get<std::string>(attrs[ConvAttr::kActivation]), &activation);
  return {Apply(b, activation, y)};
}

}  // namespace

constinit const OpDef ops::kConvFused = {
    .name = "conv_fused",
    .doc =
        "activation(convolution of x with kernel + bias + addend); made by the fusion pass. "
        "Optional\n"
        "are bias [out] and, with a bias, an addend like the result.\n"
        "strides: as for the convolution.\n"
        "padding: as for the convolution.\n"
        "dilation: as for the convolution.\n"
        "groups: as for the convolution.\n"
        "activation: none, relu, tanh, sigmoid, gelu, gelu_tanh or silu.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true, .amp = Amp::kLow},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
};

}  // namespace ostria
