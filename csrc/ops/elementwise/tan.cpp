// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  c.Set(0, b(kMultiply, {c.cotangent(), Plus(b, b(kSquare, {c.output()}), 1.0)}));
}

}  // namespace

constinit const OpDef ops::kTan = {
    .name = "tan",
    .doc =
        "The tangent of x in radians, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kTan,
};

}  // namespace ostria
