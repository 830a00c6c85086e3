// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  const Value g = c.cotangent();
  if (c.Needs(0)) SetBroadcast(c, 0, g);
  if (c.Needs(1)) SetBroadcast(c, 1, c.b(kNegative, {g}));
}

}  // namespace

constinit const OpDef ops::kSubtract = {
    .name = "subtract",
    .doc =
        "The difference x - y, element by element.\n"
        "`x` and `y` have one dtype and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kSubtract,
};

}  // namespace ostria
