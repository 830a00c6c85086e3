// SPDX-License-Identifier: Apache-2.0
// The whole derivative through rstd, which is an input only to save computing it again.
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxes };
constexpr InputDef kInputs[] = {{"g"}, {"x"}, {"scale"}, {"rstd"}};
constexpr AttrDef kAttrs[] = {{"axes", AttrType::kInt, "1"}};
constexpr OutputDef kOutputs[] = {{"dx"}, {"dscale"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  const Shape& x = c.shape(1);
  if (!(c.shape(0) == x)) c.Fail("'g' ", c.shape(0), " and 'x' ", x, " differ");
  const int last = RequireRowAxes(c, c.attr<int64_t>(kAxes), x);
  const Shape scale = LastDims(x, last);
  RequireChannels(c, 2, scale);
  RequireChannels(c, 3, FirstDims(x, x.rank() - last));
  c.Out(c.input(1));
  c.Out(c.dtype(0), scale);
}

// dx = rstd (gs - xhat mean(gs xhat)) with gs = g scale
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kRmsNormGrad, in, attrs);
  const Shape x = b.shape(in[1]);
  const int rank = x.rank(), last = static_cast<int>(std::get<int64_t>(attrs[kAxes]));
  Shape column = FirstDims(x, rank - last);
  for (int i = 0; i < last; ++i) column.Append(1);
  const Value rstd = Reshape(b, in[3], column);
  const Value xhat = b(kMultiply, {in[1], rstd}), gs = b(kMultiply, {in[0], in[2]});
  const Value dot = b(kMean, {b(kMultiply, {gs, xhat})}, {AxisRange(rank - last, rank), true});
  const Value dx = b(kMultiply, {b(kSubtract, {gs, b(kMultiply, {xhat, dot})}), rstd});
  Value dscale = b(kMultiply, {in[0], xhat});
  if (rank > last) dscale = b(kSum, {dscale}, {AxisRange(0, rank - last), false});
  return {dx, dscale};
}

}  // namespace

constinit const OpDef ops::kRmsNormGrad = {
    .name = "rms_norm_grad",
    .doc =
        "The gradients of rms_norm's y with respect to x and scale.\n"
        "axes: as for rms_norm.",
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
