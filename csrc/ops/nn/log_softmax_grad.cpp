// SPDX-License-Identifier: Apache-2.0
// g - exp(y) sum(g) for a log_softmax y.
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

// With cotangent u: df/dg: u - sum(u exp(y)); df/dy: -u exp(y) sum(g)
void Grad(GradContext& c) {
  Builder& b = c.b;
  const std::vector<int64_t> axis = {c.attr<int64_t>(SoftmaxAttr::kAxis)};
  const Value u = c.cotangent();
  const Value part = b(kMultiply, {u, b(kExp, {c.input(0)})});
  if (c.Needs(0)) {
    const Value sum = b(kSum, {c.input(1)}, {axis, true});
    c.Set(0, b(kNegative, {b(kMultiply, {part, sum})}));
  }
  if (c.Needs(1)) c.Set(1, b(kSubtract, {u, b(kSum, {part}, {axis, true})}));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kLogSoftmaxGrad, in, attrs);
  const std::vector<int64_t> axis = {std::get<int64_t>(attrs[SoftmaxAttr::kAxis])};
  const Value sum = b(kSum, {in[1]}, {axis, true});
  return {b(kSubtract, {in[1], b(kMultiply, {b(kExp, {in[0]}), sum})})};
}

}  // namespace

constinit const OpDef ops::kLogSoftmaxGrad = {
    .name = "log_softmax_grad",
    .doc =
        "The gradient of log_softmax from its result y and the cotangent g.\n"
        "axis: as for log_softmax.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.loop = true, .internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
};

}  // namespace ostria
