// SPDX-License-Identifier: Apache-2.0
// y (g - sum(g y)) for a softmax y.
#include "ir/grad_context.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"y"}, {"g"}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt, "-1"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  NormalizeAxis(c, c.attr<int64_t>(SoftmaxAttr::kAxis), c.shape(0));
  if (!(c.shape(0) == c.shape(1))) c.Fail("'y' ", c.shape(0), " and 'g' ", c.shape(1), " differ");
  c.Out(c.input(0));
}

Value SumProduct(Builder& b, Value u, Value v, int64_t axis) {
  return b(kSum, {b(kMultiply, {u, v})}, {std::vector<int64_t>{axis}, true});
}

// f = y (g - s), s = sum(g y). With cotangent u and t = sum(u y): df/dg: y (u - t); df/dy: u (g -
// s) - g t
void Grad(GradContext& c) {
  Builder& b = c.b;
  const int64_t axis = c.attr<int64_t>(SoftmaxAttr::kAxis);
  const Value y = c.input(0), g = c.input(1), u = c.cotangent();
  if (c.Needs(0)) {
    const Value s = SumProduct(b, g, y, axis), t = SumProduct(b, u, y, axis);
    c.Set(0, b(kSubtract, {b(kMultiply, {u, b(kSubtract, {g, s})}), b(kMultiply, {g, t})}));
  }
  if (c.Needs(1)) c.Set(1, b(kSoftmaxGrad, {y, u}, {axis}));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSoftmaxGrad, in, attrs);
  const Value s = SumProduct(b, in[1], in[0], std::get<int64_t>(attrs[SoftmaxAttr::kAxis]));
  return {b(kMultiply, {in[0], b(kSubtract, {in[1], s})})};
}

}  // namespace

constinit const OpDef ops::kSoftmaxGrad = {
    .name = "softmax_grad",
    .doc = "The gradient of softmax from its result y and the cotangent g.\naxis: as for softmax.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.loop = true, .internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
};

}  // namespace ostria
