// SPDX-License-Identifier: Apache-2.0
// The whole derivative through mean and rstd; those are inputs only to save computing them again.
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxes };
constexpr InputDef kInputs[] = {{"g"}, {"x"}, {"scale"}, {"mean"}, {"rstd"}};
constexpr AttrDef kAttrs[] = {{"axes", AttrType::kInt, "1"}};
constexpr OutputDef kOutputs[] = {{"dx"}, {"dscale"}, {"dbias"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  const Shape& x = c.shape(1);
  if (!(c.shape(0) == x)) c.Fail("'g' ", c.shape(0), " and 'x' ", x, " differ");
  const int last = RequireRowAxes(c, c.attr<int64_t>(kAxes), x);
  const Shape scale = LastDims(x, last), rows = FirstDims(x, x.rank() - last);
  RequireChannels(c, 2, scale);
  for (int i : {3, 4}) RequireChannels(c, i, rows);
  c.Out(c.input(1));
  c.Out(c.dtype(0), scale);
  c.Out(c.dtype(0), scale);
}

// dx = rstd (gs - mean(gs) - xhat mean(gs xhat)) with gs = g scale
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kLayerNormGrad, in, attrs);
  const Value g = in[0];
  const Shape x = b.shape(in[1]);
  const int rank = x.rank(), last = static_cast<int>(std::get<int64_t>(attrs[kAxes]));
  Shape column = FirstDims(x, rank - last);
  for (int i = 0; i < last; ++i) column.Append(1);
  const Value mean = Reshape(b, in[3], column), rstd = Reshape(b, in[4], column);
  const Value xhat = b(kMultiply, {b(kSubtract, {in[1], mean}), rstd});
  const Value gs = b(kMultiply, {g, in[2]});
  const std::vector<int64_t> axes = AxisRange(rank - last, rank);
  const Value a = b(kMean, {gs}, {axes, true});
  const Value c = b(kMean, {b(kMultiply, {gs, xhat})}, {axes, true});
  const Value inner = b(kSubtract, {b(kSubtract, {gs, a}), b(kMultiply, {xhat, c})});
  Value dscale = b(kMultiply, {g, xhat}), dbias = g;
  if (rank > last) {  // no axes would mean all of them
    const std::vector<int64_t> leading = AxisRange(0, rank - last);
    dscale = b(kSum, {dscale}, {leading, false});
    dbias = b(kSum, {g}, {leading, false});
  }
  return {b(kMultiply, {inner, rstd}), dscale, dbias};
}

}  // namespace

constinit const OpDef ops::kLayerNormGrad = {
    .name = "layer_norm_grad",
    .doc =
        "The gradients of layer_norm's y with respect to x, scale and bias.\n"
        "axes: as for layer_norm.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.loop = true, .internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
