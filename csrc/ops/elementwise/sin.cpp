// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kMultiply, {c.cotangent(), c.b(kCos, {c.input(0)})})); }

}  // namespace

constinit const OpDef ops::kSin = {
    .name = "sin",
    .doc =
        "The sine of x in radians, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kSin,
};

}  // namespace ostria
