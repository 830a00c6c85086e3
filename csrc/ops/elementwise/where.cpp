// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"condition", Arity::kOne, false}, {"x"}, {"y"}};

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value condition = c.input(0), g = c.cotangent();
  const Value zero = Scalar(b, b.dtype(g), 0.0);
  if (c.Needs(1)) SetBroadcast(c, 1, b(kWhere, {condition, g, zero}));
  if (c.Needs(2)) SetBroadcast(c, 2, b(kWhere, {condition, zero, g}));
}

}  // namespace

constinit const OpDef ops::kWhere = {
    .name = "where",
    .doc =
        "x where the condition is true, else y, element by element.\n"
        "x and y have one dtype; all three broadcast as NumPy arrays do.\n"
        "condition: bool.",
    .inputs = kInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kWhere,
};

}  // namespace ostria
