// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  c.Set(0, c.b(kDivide, {c.cotangent(), Times(c.b, c.input(0), 0.69314718055994531)}));
}

}  // namespace

constinit const OpDef ops::kLog2 = {
    .name = "log2",
    .doc =
        "The logarithm to base 2, element by element: -inf at 0, NaN below.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kLog2,
};

}  // namespace ostria
