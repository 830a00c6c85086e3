// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  // (1 - x)(1 + x), because 1 - x^2 cancels near the ends.
  const Value below = b(kSubtract, {Scalar(b, b.dtype(c.input(0)), 1.0), c.input(0)});
  const Value slope = b(kSqrt, {b(kMultiply, {below, Plus(b, c.input(0), 1.0)})});
  c.Set(0, b(kDivide, {c.cotangent(), slope}));
}

}  // namespace

constinit const OpDef ops::kAsin = {
    .name = "asin",
    .doc =
        "The angle in [-pi/2, pi/2] whose sine is x, element by element; NaN outside [-1, 1].\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kAsin,
};

}  // namespace ostria
