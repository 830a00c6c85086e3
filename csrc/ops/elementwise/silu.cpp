// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value s = b(kSigmoid, {c.input(0)});
  // d(x s) = s + x s (1 - s) = s + y (1 - s)
  const Value rest = b(kSubtract, {Scalar(b, b.dtype(s), 1.0), s});
  const Value slope = b(kAdd, {s, b(kMultiply, {c.output(), rest})});
  c.Set(0, b(kMultiply, {c.cotangent(), slope}));
}

}  // namespace

constinit const OpDef ops::kSilu = {
    .name = "silu",
    .doc =
        "x * sigmoid(x), element by element (also called swish).\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kSilu,
};

}  // namespace ostria
