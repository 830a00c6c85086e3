// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  const Value q = c.b(kDivide, {c.cotangent(), c.input(1)});
  if (c.Needs(0)) SetBroadcast(c, 0, q);
  if (c.Needs(1)) SetBroadcast(c, 1, c.b(kNegative, {c.b(kMultiply, {q, c.output()})}));
}

}  // namespace

constinit const OpDef ops::kDivide = {
    .name = "divide",
    .doc =
        "The quotient x / y, element by element.\n"
        "Floating-point only; integers are divided by floor_divide. `x` and "
        "`y` have one "
        "dtype and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kDivide,
};

}  // namespace ostria
