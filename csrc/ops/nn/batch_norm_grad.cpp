// SPDX-License-Identifier: Apache-2.0
// The whole derivative through mean and variance; those are inputs only to save computing them
// again.
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"g"}, {"x"}, {"scale"}, {"mean"}, {"var"}};
constexpr AttrDef kAttrs[] = {{"epsilon", AttrType::kFloat, "0.001"}};
constexpr OutputDef kOutputs[] = {{"dx"}, {"dscale"}, {"dbias"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  if (!(c.shape(0) == c.shape(1))) c.Fail("'g' ", c.shape(0), " and 'x' ", c.shape(1), " differ");
  const Shape channels = InferChannels(c, 1);
  RequireParameters(c, 2, channels);
  RequireEpsilon(c, NormAttr::kEpsilon);
  c.Out(c.input(1));
  c.Out(c.dtype(2), channels);
  c.Out(c.dtype(2), channels);
}

// dx = scale rstd (g - (dbias + xhat dscale) / n)
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kBatchNormGrad, in, attrs);
  const Value g = in[0], x = in[1], scale = in[2], mean = in[3], var = in[4];
  const auto [axes, rows] = LeadingAxes(b, x);
  const Value rstd = b(kRsqrt, {Plus(b, var, std::get<double>(attrs[NormAttr::kEpsilon]))});
  const Value xhat = b(kMultiply, {b(kSubtract, {x, mean}), rstd});
  const Value dbias = b(kSum, {g}, {axes, false});
  const Value dscale = b(kSum, {b(kMultiply, {g, xhat})}, {axes, false});
  const Value n = DimProduct(b, rows, b.dtype(x));
  const Value common = b(kAdd, {dbias, b(kMultiply, {xhat, dscale})});
  const Value inner = b(kSubtract, {g, b(kDivide, {common, n})});
  return {b(kMultiply, {inner, b(kMultiply, {scale, rstd})}), dscale, dbias};
}

}  // namespace

constinit const OpDef ops::kBatchNormGrad = {
    .name = "batch_norm_grad",
    .doc =
        "The gradients of batch_norm's y with respect to x, scale and bias.\n"
        "epsilon: as for batch_norm.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
