// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"g"}, {"y"}};

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  const Value rest = b(kSubtract, {Scalar(b, b.dtype(in[1]), 1.0), in[1]});
  return {b(kMultiply, {in[0], b(kMultiply, {in[1], rest})})};
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value gg = c.cotangent(), g = c.input(0), y = c.input(1);
  if (c.Needs(0)) SetBroadcast(c, 0, b(kSigmoidGrad, {gg, y}));
  if (c.Needs(1)) {
    const Value slope = b(kSubtract, {Scalar(b, b.dtype(y), 1.0), Times(b, y, 2.0)});
    SetBroadcast(c, 1, b(kMultiply, {b(kMultiply, {gg, g}), slope}));
  }
}

}  // namespace

constinit const OpDef ops::kSigmoidGrad = {
    .name = "sigmoid_grad",
    .doc = "g * y * (1 - y): the gradient of sigmoid from its output y.",
    .inputs = kInputs,
    .outputs = kOneOutput,
    .traits = {.elementwise = true, .internal = true},
    .infer = InferElementwise,
    .grad = Grad,
    .decompose = Decompose,
    .scalar = kernels::ScalarOp::kSigmoidGrad,
};

}  // namespace ostria
