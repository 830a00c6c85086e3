// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  c.Set(0, b(kDivide, {c.cotangent(), Plus(b, b(kSquare, {c.input(0)}), 1.0)}));
}

}  // namespace

constinit const OpDef ops::kAtan = {
    .name = "atan",
    .doc =
        "The angle in [-pi/2, pi/2] whose tangent is x, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kAtan,
};

}  // namespace ostria
