// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value x = c.input(0), y = c.input(1), g = c.cotangent();
  // Equal infinities share the gradient: their distance would be NaN.
  const Value same = b(kLogicalAnd, {b(kEqual, {x, y}), b(kIsinf, {x})});
  const Value zero = Scalar(b, b.dtype(g), 0.0);
  const Value ahead = b(kWhere, {same, zero, b(kSubtract, {x, y})});
  if (c.Needs(0)) SetBroadcast(c, 0, b(kMultiply, {g, b(kSigmoid, {ahead})}));
  if (c.Needs(1)) {
    SetBroadcast(c, 1, b(kMultiply, {g, b(kSigmoid, {b(kNegative, {ahead})})}));
  }
}

}  // namespace

constinit const OpDef ops::kLogaddexp = {
    .name = "logaddexp",
    .doc =
        "log(exp(x) + exp(y)), element by element, without overflow.\n"
        "Floating-point only. `x` and `y` have one dtype and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSymmetric,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kLogAddExp,
};

}  // namespace ostria
