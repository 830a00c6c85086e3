// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  c.Set(0, c.b(kMultiply, {Times(c.b, c.cotangent(), 2.0), c.input(0)}));
}

}  // namespace

constinit const OpDef ops::kSquare = {
    .name = "square",
    .doc = "x * x, element by element.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kSquare,
};

}  // namespace ostria
