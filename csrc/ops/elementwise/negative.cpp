// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kNegative, {c.cotangent()})); }

}  // namespace

constinit const OpDef ops::kNegative = {
    .name = "negative",
    .doc =
        "The negative -x, element by element.\n"
        "Unsigned integers wrap around.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kNegative,
};

}  // namespace ostria
