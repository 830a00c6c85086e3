// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAlpha };
constexpr AttrDef kAttrs[] = {{"alpha", AttrType::kFloat, "1"}};

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value g = c.cotangent();
  const Value positive = b(kGreater, {c.input(0), Scalar(b, b.dtype(g), 0.0)});
  const Value below = b(kMultiply, {g, Plus(b, c.output(), c.attr<double>(kAlpha))});
  c.Set(0, b(kWhere, {positive, g, below}));
}

}  // namespace

constinit const OpDef ops::kElu = {
    .name = "elu",
    .doc =
        "x where x > 0, else alpha * (exp(x) - 1), element by element.\n"
        "Floating-point only.\n"
        "alpha: minus the limit for x toward minus infinity.",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kElu,
};

}  // namespace ostria
