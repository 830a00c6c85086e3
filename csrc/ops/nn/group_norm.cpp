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
                              {"groups", AttrType::kInt, "32"}};
constexpr OutputDef kOutputs[] = {{"y"}, {"mean"}, {"rstd"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const Shape channels = InferChannels(c, 0);
  for (int i : {1, 2}) RequireChannels(c, i, channels);
  const int64_t groups = c.attr<int64_t>(NormAttr::kGroups);
  RequireGroups(c, groups, c.shape(0));
  RequireEpsilon(c, NormAttr::kEpsilon);
  c.Out(c.input(0));
  for (int i = 0; i < 2; ++i) c.Out(c.dtype(0), {c.shape(0)[0], groups});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kGroupNorm, in, attrs);
  const Shape x = b.shape(in[0]);
  const int64_t groups = std::get<int64_t>(attrs[NormAttr::kGroups]);
  const Value split = Reshape(b, in[0], GroupsOf(x, groups));
  const std::vector<int64_t> axes = {1, 3};
  const Value mean = b(kMean, {split}, {axes, true});
  const Value centered = b(kSubtract, {split, mean});
  const Value var = b(kMean, {b(kSquare, {centered})}, {axes, true});
  const Value rstd = b(kRsqrt, {Plus(b, var, std::get<double>(attrs[NormAttr::kEpsilon]))});
  const Value xhat = Reshape(b, b(kMultiply, {centered, rstd}), x);
  const Shape rows = {x[0], groups};
  return {b(kAdd, {b(kMultiply, {xhat, in[1]}), in[2]}), Reshape(b, mean, rows),
          Reshape(b, rstd, rows)};
}

void Grad(GradContext& c) {
  if (c.HasCotangent(1) || c.HasCotangent(2))
    return c.ThroughDecomposition();  // second derivatives
  const auto d =
      c.b.Multi(kGroupNormGrad, {c.cotangent(), c.input(0), c.input(1), c.output(1), c.output(2)},
                {c.attr<int64_t>(NormAttr::kGroups)});
  for (int i = 0; i < 3; ++i) c.Set(i, d[i]);
}

}  // namespace

constinit const OpDef ops::kGroupNorm = {
    .name = "group_norm",
    .doc =
        "x [n, ..., channels] with each example normalised over every group of neighbouring\n"
        "channels: y = (x - mean) / sqrt(var + epsilon) * scale + bias (Wu, He 2018).\n"
        "Also gives mean and 1 / sqrt(var + epsilon) of every example and group.\n"
        "epsilon: added to the variance.\n"
        "groups: how many groups; they divide the channels.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
