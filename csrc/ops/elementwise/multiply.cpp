// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  const Value g = c.cotangent();
  for (int i = 0; i < 2; ++i) {
    if (c.Needs(i)) SetBroadcast(c, i, c.b(kMultiply, {g, c.input(1 - i)}));
  }
}

}  // namespace

constinit const OpDef ops::kMultiply = {
    .name = "multiply",
    .doc =
        "The product x * y, element by element.\n"
        "`x` and `y` have one dtype and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSymmetric,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kMultiply,
};

}  // namespace ostria
