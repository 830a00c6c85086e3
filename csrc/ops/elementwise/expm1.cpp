// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kMultiply, {c.cotangent(), Plus(c.b, c.output(), 1.0)})); }

}  // namespace

constinit const OpDef ops::kExpm1 = {
    .name = "expm1",
    .doc =
        "e^x - 1, element by element, exact for small x.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kExpm1,
};

}  // namespace ostria
