// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value x = c.input(0),
              y = c.input(1);  // the angle's ordinate and abscissa
  const Value norm = b(kAdd, {b(kSquare, {x}), b(kSquare, {y})});
  const Value q = b(kDivide, {c.cotangent(), norm});
  if (c.Needs(0)) SetBroadcast(c, 0, b(kMultiply, {q, y}));
  if (c.Needs(1)) SetBroadcast(c, 1, b(kNegative, {b(kMultiply, {q, x})}));
}

}  // namespace

constinit const OpDef ops::kAtan2 = {
    .name = "atan2",
    .doc =
        "The angle of the point (y, x) to the positive x axis, in (-pi, "
        "pi], as atan2(x, y) "
        "names its inputs: the first is the ordinate.\n"
        "Floating-point only. `x` and `y` have one dtype and broadcast as "
        "NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kAtan2,
};

}  // namespace ostria
