// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kDivide, {c.cotangent(), Plus(c.b, c.input(0), 1.0)})); }

}  // namespace

constinit const OpDef ops::kLog1p = {
    .name = "log1p",
    .doc =
        "The natural logarithm of 1 + x, element by element, exact for "
        "small x.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kLog1p,
};

}  // namespace ostria
