// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  c.Set(0, b(kNegative, {b(kMultiply, {c.cotangent(), b(kSin, {c.input(0)})})}));
}

}  // namespace

constinit const OpDef ops::kCos = {
    .name = "cos",
    .doc =
        "The cosine of x in radians, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kCos,
};

}  // namespace ostria
