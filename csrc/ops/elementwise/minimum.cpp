// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value g = c.cotangent();
  const Value zero = Scalar(b, b.dtype(g), 0.0);
  const Value half = Times(b, g, 0.5);
  const Value tie = b(kEqual, {c.input(0), c.input(1)});
  for (int i = 0; i < 2; ++i) {
    if (!c.Needs(i)) continue;
    const Value wins = b(kLess, {c.input(i), c.input(1 - i)});
    SetBroadcast(c, i, b(kWhere, {tie, half, b(kWhere, {wins, g, zero})}));
  }
}

}  // namespace

constinit const OpDef ops::kMinimum = {
    .name = "minimum",
    .doc =
        "The smaller of x and y, element by element; NaN if either is NaN.\n"
        "Where both are equal, each gets half of the gradient. `x` and `y` "
        "have one dtype and "
        "broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSymmetricKinked,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kMinimum,
};

}  // namespace ostria
