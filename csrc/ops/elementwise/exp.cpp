// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kMultiply, {c.cotangent(), c.output()})); }

}  // namespace

constinit const OpDef ops::kExp = {
    .name = "exp",
    .doc =
        "e to the power of x, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kExp,
};

}  // namespace ostria
