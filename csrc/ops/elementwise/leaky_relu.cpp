// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kNegativeSlope };
constexpr AttrDef kAttrs[] = {{"negative_slope", AttrType::kFloat, "0.2"}};

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value g = c.cotangent();
  const Value positive = b(kGreater, {c.input(0), Scalar(b, b.dtype(g), 0.0)});
  c.Set(0, b(kWhere, {positive, g, Times(b, g, c.attr<double>(kNegativeSlope))}));
}

}  // namespace

constinit const OpDef ops::kLeakyRelu = {
    .name = "leaky_relu",
    .doc =
        "x where x > 0, else negative_slope * x, element by element.\n"
        "Floating-point only.\n"
        "negative_slope: the slope below 0.",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kLeakyRelu,
};

}  // namespace ostria
