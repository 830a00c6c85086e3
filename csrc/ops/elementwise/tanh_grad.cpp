// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"g"}, {"y"}};

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  const Value slope = b(kSubtract, {Scalar(b, b.dtype(in[1]), 1.0), b(kSquare, {in[1]})});
  return {b(kMultiply, {in[0], slope})};
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value gg = c.cotangent(), g = c.input(0), y = c.input(1);
  if (c.Needs(0)) SetBroadcast(c, 0, b(kTanhGrad, {gg, y}));
  if (c.Needs(1)) SetBroadcast(c, 1, b(kMultiply, {Times(b, b(kMultiply, {gg, g}), -2.0), y}));
}

}  // namespace

constinit const OpDef ops::kTanhGrad = {
    .name = "tanh_grad",
    .doc = "g * (1 - y * y): the gradient of tanh from its output y.",
    .inputs = kInputs,
    .outputs = kOneOutput,
    .traits = {.elementwise = true, .internal = true},
    .infer = InferElementwise,
    .grad = Grad,
    .decompose = Decompose,
    .scalar = kernels::ScalarOp::kTanhGrad,
};

}  // namespace ostria
