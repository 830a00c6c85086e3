// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  // sqrt(x^2 + 1) without the overflow of the square.
  const Value one = Scalar(b, b.dtype(c.input(0)), 1.0);
  c.Set(0, b(kDivide, {c.cotangent(), b(kHypot, {c.input(0), one})}));
}

}  // namespace

constinit const OpDef ops::kAsinh = {
    .name = "asinh",
    .doc =
        "The inverse of the hyperbolic sine, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kAsinh,
};

}  // namespace ostria
