// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kApproximate };
// True picks the next functor, kGeluTanh.
constexpr AttrDef kAttrs[] = {{"approximate", AttrType::kBool, "false"}};

void Grad(GradContext& c) {
  c.Set(0, c.b(kGeluGrad, {c.cotangent(), c.input(0)}, {c.attr<bool>(kApproximate)}));
}

}  // namespace

constinit const OpDef ops::kGelu = {
    .name = "gelu",
    .doc =
        "The Gaussian error linear unit x * Phi(x), element by element.\n"
        "Floating-point only.\n"
        "approximate: use 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) "
        "instead of erf "
        "(Hendrycks and Gimpel 2016).",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kGelu,
};

}  // namespace ostria
