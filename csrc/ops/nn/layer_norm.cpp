// SPDX-License-Identifier: Apache-2.0
// The outputs mean and rstd are what the gradient wants to know; layers use y alone.
#include "ir/grad_context.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"scale"}, {"bias"}};
constexpr AttrDef kAttrs[] = {{"epsilon", AttrType::kFloat, "0.001"},
                              {"axes", AttrType::kInt, "1"}};
constexpr OutputDef kOutputs[] = {{"y"}, {"mean"}, {"rstd"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const Shape& x = c.shape(0);
  const int last = RequireRowAxes(c, c.attr<int64_t>(NormAttr::kAxes), x);
  for (int i : {1, 2}) RequireChannels(c, i, LastDims(x, last));
  RequireEpsilon(c, NormAttr::kEpsilon);
  const Shape rows = FirstDims(x, x.rank() - last);
  c.Out(c.input(0));
  c.Out(c.dtype(0), rows);
  c.Out(c.dtype(0), rows);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kLayerNorm, in, attrs);
  const Shape x = b.shape(in[0]);
  const int rank = x.rank(), last = static_cast<int>(std::get<int64_t>(attrs[NormAttr::kAxes]));
  const std::vector<int64_t> axes = AxisRange(rank - last, rank);
  const Value mean = b(kMean, {in[0]}, {axes, true});
  const Value centered = b(kSubtract, {in[0], mean});
  const Value var = b(kMean, {b(kSquare, {centered})}, {axes, true});
  const Value rstd = b(kRsqrt, {Plus(b, var, std::get<double>(attrs[NormAttr::kEpsilon]))});
  const Value scaled = b(kMultiply, {b(kMultiply, {centered, rstd}), in[1]});
  const Shape rows = FirstDims(x, rank - last);
  return {b(kAdd, {scaled, in[2]}), Reshape(b, mean, rows), Reshape(b, rstd, rows)};
}

void Grad(GradContext& c) {
  if (c.HasCotangent(1) || c.HasCotangent(2))
    return c.ThroughDecomposition();  // second derivatives
  const auto d =
      c.b.Multi(kLayerNormGrad, {c.cotangent(), c.input(0), c.input(1), c.output(1), c.output(2)},
                {c.attr<int64_t>(NormAttr::kAxes)});
  for (int i = 0; i < 3; ++i) c.Set(i, d[i]);
}

}  // namespace

constinit const OpDef ops::kLayerNorm = {
    .name = "layer_norm",
    .doc =
        "x normalised over its last axes: y = (x - mean) / sqrt(var + epsilon) * scale + bias.\n"
        "Also gives mean and 1 / sqrt(var + epsilon) of every row.\n"
        "epsilon: added to the variance.\n"
        "axes: how many last axes make a row; scale and bias have their shape.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.loop = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
