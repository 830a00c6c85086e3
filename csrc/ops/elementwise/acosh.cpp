// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  // sqrt(x^2 - 1) without the overflow of the square and the cancellation at 1.
  const Value below = b(kSqrt, {Plus(b, c.input(0), -1.0)});
  const Value above = b(kSqrt, {Plus(b, c.input(0), 1.0)});
  c.Set(0, b(kDivide, {c.cotangent(), b(kMultiply, {below, above})}));
}

}  // namespace

constinit const OpDef ops::kAcosh = {
    .name = "acosh",
    .doc =
        "The inverse of the hyperbolic cosine, 0 or above, element by element; NaN below 1.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kAcosh,
};

}  // namespace ostria
