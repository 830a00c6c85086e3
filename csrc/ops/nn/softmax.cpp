// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt, "-1"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  NormalizeAxis(c, c.attr<int64_t>(SoftmaxAttr::kAxis), c.shape(0));
  c.Out(c.input(0));
}

void Grad(GradContext& c) {
  const int64_t axis = c.attr<int64_t>(SoftmaxAttr::kAxis);
  c.Set(0, c.b(kSoftmaxGrad, {c.output(), c.cotangent()}, {axis}));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSoftmax, in, attrs);
  const std::vector<int64_t> axis = {std::get<int64_t>(attrs[SoftmaxAttr::kAxis])};
  const Value shifted = b(kSubtract, {in[0], b(kMax, {in[0]}, {axis, true})});
  const Value e = b(kExp, {shifted});
  const Value sum = b(kSum, {e}, {axis, true});
  return {b(kDivide, {e, sum})};
}

}  // namespace

constinit const OpDef ops::kSoftmax = {
    .name = "softmax",
    .doc =
        "Exponentials of x divided by their sum along an axis.\n"
        "axis: the axis that sums to one.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.loop = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
};

}  // namespace ostria
