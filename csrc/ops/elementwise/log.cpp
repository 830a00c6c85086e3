// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kDivide, {c.cotangent(), c.input(0)})); }

}  // namespace

constinit const OpDef ops::kLog = {
    .name = "log",
    .doc =
        "The natural logarithm, element by element: -inf at 0, NaN below.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kLog,
};

}  // namespace ostria
