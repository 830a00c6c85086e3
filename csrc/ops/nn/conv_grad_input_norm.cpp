// SPDX-License-Identifier: Apache-2.0
// Back through a convolution, a relu and the batch normalisation before it, up to where the whole
// batch must have been seen: what is left is one product and sum per element.
#include "ops/common/build.h"
#include "ops/common/conv.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"g"}, {"kernel"}, {"x"}, {"scale"}, {"bias"}, {"mean"}, {"rstd"}};
constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts},
                              {"padding", AttrType::kInts},
                              {"dilation", AttrType::kInts},
                              {"groups", AttrType::kInt},
                              {"size", AttrType::kShape}};
constexpr OutputDef kOutputs[] = {{"dz"},       {"dscale"},   {"dbias"},
                                  {"z_factor"}, {"x_factor"}, {"shift"}};
enum Input { kG, kKernel, kX, kScale, kBias, kMeanOf, kRstd };

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  for (int i : {kKernel, kX}) RequireSameDType(c, 0, i);
  const ValueType types[] = {c.input(kG), c.input(kKernel)};
  std::vector<ValueType> out;
  InferTypes(kConvGradInput, types, c.attrs(), &out);
  if (!(out[0].shape == c.shape(kX))) {
    c.Fail("'x' has shape ", c.shape(kX), ", but the gradient of the image has ", out[0].shape);
  }
  const Shape channels = InferChannels(c, kX);
  RequireParameters(c, kScale, channels);
  c.Out(out[0]);
  for (int i = 0; i < 5; ++i) c.Out(c.dtype(kScale), channels);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kConvGradInputNorm, in, attrs);
  const Value x = in[kX];
  const Value da = b(kConvGradInput, {in[kG], in[kKernel]}, {attrs.begin(), attrs.end()});
  const Value xhat = b(kMultiply, {b(kSubtract, {x, in[kMeanOf]}), in[kRstd]});
  const Value z = b(kAdd, {b(kMultiply, {xhat, in[kScale]}), in[kBias]});
  const Value dz = b(kReluGrad, {da, z});
  const auto [axes, rows] = LeadingAxes(b, x);
  const Value dbias = b(kSum, {dz}, {axes, false});
  const Value dscale = b(kSum, {b(kMultiply, {dz, xhat})}, {axes, false});
  const Value n = DimProduct(b, rows, b.dtype(x));
  const Value factor = b(kMultiply, {in[kScale], in[kRstd]});
  const Value slope = b(kDivide, {b(kMultiply, {b(kMultiply, {factor, in[kRstd]}), dscale}), n});
  const Value shift = b(kSubtract, {b(kMultiply, {slope, in[kMeanOf]}),
                                    b(kDivide, {b(kMultiply, {factor, dbias}), n})});
  return {dz, dscale, dbias, factor, b(kNegative, {slope}), shift};
}

}  // namespace

constinit const OpDef ops::kConvGradInputNorm = {
    .name = "conv_grad_input_norm",
    .doc =
        "dz, the gradient of a convolution of relu(z) with respect to z = (x - mean) rstd scale + "
        "bias,\n"
        "with statistics of x itself, and what follows of it: the gradients of scale and bias, "
        "and\n"
        "numbers per channel such that that of x is dz z_factor + x x_factor + shift.\n"
        "strides: as for the convolution.\n"
        "padding: as for the convolution.\n"
        "dilation: as for the convolution.\n"
        "groups: as for the convolution.\n"
        "size: the image's spatial sizes.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.smooth = false, .internal = true, .amp = Amp::kLow},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
