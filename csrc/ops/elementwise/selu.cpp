// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

constexpr double kAlpha = 1.6732632423543772, kScale = 1.0507009873554805;

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value g = c.cotangent();
  const Value positive = b(kGreater, {c.input(0), Scalar(b, b.dtype(g), 0.0)});
  const Value below = b(kMultiply, {g, Plus(b, c.output(), kScale * kAlpha)});
  c.Set(0, b(kWhere, {positive, Times(b, g, kScale), below}));
}

}  // namespace

constinit const OpDef ops::kSelu = {
    .name = "selu",
    .doc =
        "scale * x where x > 0, else scale * alpha * (exp(x) - 1), element "
        "by element.\n"
        "scale = 1.0507 and alpha = 1.6733 keep mean and variance through "
        "deep nets "
        "(Klambauer et al. 2017).\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kSelu,
};

}  // namespace ostria
