// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kDivide, {Times(c.b, c.cotangent(), 0.5), c.output()})); }

}  // namespace

constinit const OpDef ops::kSqrt = {
    .name = "sqrt",
    .doc =
        "The square root, element by element; NaN below 0.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kSqrt,
};

}  // namespace ostria
