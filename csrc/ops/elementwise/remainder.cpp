// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  const Value g = c.cotangent();
  if (c.Needs(0)) SetBroadcast(c, 0, g);
  if (c.Needs(1)) {
    const Value whole = c.b(kFloorDivide, {c.input(0), c.input(1)});
    SetBroadcast(c, 1, c.b(kNegative, {c.b(kMultiply, {g, whole})}));
  }
}

}  // namespace

constinit const OpDef ops::kRemainder = {
    .name = "remainder",
    .doc =
        "What floor division leaves over, x - y * floor(x / y), element by "
        "element.\n"
        "It has the sign of y, as Python's %. The remainder of an integer "
        "by 0 is 0. `x` and "
        "`y` have one dtype and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kMod,
};

}  // namespace ostria
