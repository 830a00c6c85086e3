// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kTanhGrad, {c.cotangent(), c.output()})); }

}  // namespace

constinit const OpDef ops::kTanh = {
    .name = "tanh",
    .doc =
        "The hyperbolic tangent, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kTanh,
};

}  // namespace ostria
