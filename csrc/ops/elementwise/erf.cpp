// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

#include <numbers>

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value bell = b(kExp, {b(kNegative, {b(kSquare, {c.input(0)})})});
  c.Set(0, b(kMultiply, {Times(b, c.cotangent(), 2.0 * std::numbers::inv_sqrtpi), bell}));
}

}  // namespace

constinit const OpDef ops::kErf = {
    .name = "erf",
    .doc =
        "The error function, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kErf,
};

}  // namespace ostria
