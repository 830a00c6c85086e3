// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value cube = b(kMultiply, {b(kSquare, {c.output()}), c.output()});
  c.Set(0, b(kMultiply, {Times(b, c.cotangent(), -0.5), cube}));
}

}  // namespace

constinit const OpDef ops::kRsqrt = {
    .name = "rsqrt",
    .doc =
        "1 / sqrt(x), element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kRsqrt,
};

}  // namespace ostria
