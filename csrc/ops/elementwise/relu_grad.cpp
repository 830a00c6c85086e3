// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"g"}, {"y"}};

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  const Value zero = Scalar(b, b.dtype(in[0]), 0.0);
  return {b(kWhere, {b(kGreater, {in[1], zero}), in[0], zero})};
}

void Grad(GradContext& c) {
  if (c.Needs(0)) SetBroadcast(c, 0, c.b(kReluGrad, {c.cotangent(), c.input(1)}));
}

}  // namespace

constinit const OpDef ops::kReluGrad = {
    .name = "relu_grad",
    .doc = "g where y > 0, else 0: the gradient of relu from its output y.",
    .inputs = kInputs,
    .outputs = kOneOutput,
    .traits = {.elementwise = true, .smooth = false, .internal = true},
    .infer = InferElementwise,
    .grad = Grad,
    .decompose = Decompose,
    .scalar = kernels::ScalarOp::kReluGrad,
};

}  // namespace ostria
