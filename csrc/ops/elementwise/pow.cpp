// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value g = c.cotangent(), x = c.input(0), y = c.input(1);
  const DType t = b.dtype(x);
  const Value zero = Scalar(b, t, 0.0), one = Scalar(b, t, 1.0);
  if (c.Needs(0)) {
    // At x = y = 0 the power y - 1 would turn 0 * x^-1 into NaN.
    const Value origin = b(kLogicalAnd, {b(kEqual, {x, zero}), b(kEqual, {y, zero})});
    const Value less = b(kWhere, {origin, one, b(kSubtract, {y, one})});
    SetBroadcast(c, 0, b(kMultiply, {b(kMultiply, {g, y}), b(kPow, {x, less})}));
  }
  if (c.Needs(1)) {
    // 0^y is 0 for every y > 0: its slope there is 0, not 0 * log(0).
    const Value log = b(kLog, {b(kWhere, {b(kEqual, {x, zero}), one, x})});
    SetBroadcast(c, 1, b(kMultiply, {b(kMultiply, {g, c.output()}), log}));
  }
}

}  // namespace

constinit const OpDef ops::kPow = {
    .name = "pow",
    .doc =
        "x to the power of y, element by element.\n"
        "A negative x needs an integral y, or the result is NaN. `x` and "
        "`y` have one dtype "
        "and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kPow,
};

}  // namespace ostria
