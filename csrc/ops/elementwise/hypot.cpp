// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value r = c.output(), one = Scalar(b, b.dtype(r), 1.0);
  const Value origin = b(kEqual, {r, Scalar(b, b.dtype(r), 0.0)});
  const Value q = b(kDivide, {c.cotangent(), b(kWhere, {origin, one, r})});
  for (int i = 0; i < 2; ++i) {
    if (c.Needs(i)) SetBroadcast(c, i, b(kMultiply, {q, c.input(i)}));
  }
}

}  // namespace

constinit const OpDef ops::kHypot = {
    .name = "hypot",
    .doc =
        "The length sqrt(x^2 + y^2), element by element, without overflow of the squares.\n"
        "Floating-point only. The gradient at (0, 0) is 0. `x` and `y` have one dtype and "
        "broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSymmetric,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kHypot,
};

}  // namespace ostria
