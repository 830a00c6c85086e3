// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

#include <numbers>

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kApproximate };
// True picks the next functor, kGeluTanh.
constexpr AttrDef kAttrs[] = {{"approximate", AttrType::kBool, "false"}};

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value x = c.input(0), g = c.cotangent();
  if (!c.attr<bool>(kApproximate)) {
    // Phi(x) + x phi(x)
    const Value erf = b(kErf, {Times(b, x, 1.0 / std::numbers::sqrt2)});
    const Value cdf = Times(b, Plus(b, erf, 1.0), 0.5);
    const Value bell = b(kExp, {Times(b, b(kSquare, {x}), -0.5)});
    const Value density = Times(b, bell, 0.5 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
    c.Set(0, b(kMultiply, {g, b(kAdd, {cdf, b(kMultiply, {x, density})})}));
    return;
  }
  // With u = k (x + a x^3) and t = tanh u: (1 + t) / 2 + x (1 - t^2) / 2 * k (1
  // + 3 a x^2)
  const double k = std::numbers::sqrt2 * std::numbers::inv_sqrtpi, a = 0.044715;
  const Value square = b(kSquare, {x});
  const Value u = b(kMultiply, {Times(b, x, k), Plus(b, Times(b, square, a), 1.0)});
  const Value t = b(kTanh, {u});
  const Value inner = Plus(b, Times(b, square, 3.0 * a * k), k);
  const Value bend = b(kTanhGrad, {b(kMultiply, {Times(b, x, 0.5), inner}), t});
  c.Set(0, b(kMultiply, {g, b(kAdd, {Times(b, Plus(b, t, 1.0), 0.5), bend})}));
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
