// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  c.Set(0, b(kNegative, {b(kMultiply, {c.cotangent(), b(kSquare, {c.output()})})}));
}

}  // namespace

constinit const OpDef ops::kReciprocal = {
    .name = "reciprocal",
    .doc =
        "1 / x, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kReciprocal,
};

}  // namespace ostria
