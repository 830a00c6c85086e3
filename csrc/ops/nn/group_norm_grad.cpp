// SPDX-License-Identifier: Apache-2.0
// The whole derivative through mean and rstd; those are inputs only to save computing them again.
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kGroups };
constexpr InputDef kInputs[] = {{"g"}, {"x"}, {"scale"}, {"mean"}, {"rstd"}};
constexpr AttrDef kAttrs[] = {{"groups", AttrType::kInt, "32"}};
constexpr OutputDef kOutputs[] = {{"dx"}, {"dscale"}, {"dbias"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  const Shape &g = c.shape(0), &x = c.shape(1);
  if (!(g == x)) c.Fail("'g' ", g, " and 'x' ", x, " differ");
  const Shape channels = InferChannels(c, 1);
  const int64_t groups = c.attr<int64_t>(kGroups);
  RequireGroups(c, groups, x);
  RequireChannels(c, 2, channels);
  for (int i : {3, 4}) RequireChannels(c, i, {x[0], groups});
  c.Out(c.input(1));
  for (int i = 0; i < 2; ++i) c.Out(c.dtype(0), channels);
}

// dx = rstd (gs - mean(gs) - xhat mean(gs xhat)) with gs = g scale
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kGroupNormGrad, in, attrs);
  const Shape x = b.shape(in[1]);
  const int64_t groups = std::get<int64_t>(attrs[kGroups]);
  const Shape split = GroupsOf(x, groups), column = {x[0], 1, groups, 1};
  const Value mean = Reshape(b, in[3], column), rstd = Reshape(b, in[4], column);
  const Value xhat = b(kMultiply, {b(kSubtract, {Reshape(b, in[1], split), mean}), rstd});
  const Value gs = Reshape(b, b(kMultiply, {in[0], in[2]}), split);
  const std::vector<int64_t> axes = {1, 3};
  const Value a = b(kMean, {gs}, {axes, true});
  const Value c = b(kMean, {b(kMultiply, {gs, xhat})}, {axes, true});
  const Value inner = b(kSubtract, {b(kSubtract, {gs, a}), b(kMultiply, {xhat, c})});
  const Value dx = Reshape(b, b(kMultiply, {inner, rstd}), x);
  const auto [leading, sizes] = LeadingAxes(b, in[1]);
  const Value dscale = b(kSum, {b(kMultiply, {in[0], Reshape(b, xhat, x)})}, {leading, false});
  return {dx, dscale, b(kSum, {in[0]}, {leading, false})};
}

}  // namespace

constinit const OpDef ops::kGroupNormGrad = {
    .name = "group_norm_grad",
    .doc =
        "The gradients of group_norm's y with respect to x, scale and bias.\n"
        "groups: as for group_norm.",
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
