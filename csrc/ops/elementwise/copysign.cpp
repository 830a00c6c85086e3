// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  if (!c.Needs(0)) return;
  Builder& b = c.b;
  const Value turned = b(kMultiply, {c.cotangent(), b(kSign, {c.input(0)})});
  const Value one = Scalar(b, b.dtype(turned), 1.0);
  SetBroadcast(c, 0, b(kMultiply, {turned, b(kCopysign, {one, c.input(1)})}));
}

}  // namespace

constinit const OpDef ops::kCopysign = {
    .name = "copysign",
    .doc =
        "The size of x with the sign of y, element by element; the sign of -0 counts.\n"
        "Floating-point only. No gradient flows to y. `x` and `y` have one dtype and broadcast as "
        "NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kCopySign,
};

}  // namespace ostria
