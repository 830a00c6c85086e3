// SPDX-License-Identifier: Apache-2.0
// One functor for the value; the slopes of gelu_grad itself come from the decomposition.
#include "ops/common/elementwise.h"

#include <numbers>

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kApproximate };
constexpr InputDef kInputs[] = {{"g"}, {"x"}};
// True picks the next functor, kGeluTanhGrad.
constexpr AttrDef kAttrs[] = {{"approximate", AttrType::kBool, "false"}};

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const Value g = in[0], x = in[1];
  if (!std::get<bool>(attrs[kApproximate])) {
    // Phi(x) + x phi(x)
    const Value erf = b(kErf, {Times(b, x, 1.0 / std::numbers::sqrt2)});
    const Value cdf = Times(b, Plus(b, erf, 1.0), 0.5);
    const Value bell = b(kExp, {Times(b, b(kSquare, {x}), -0.5)});
    const Value density = Times(b, bell, 0.5 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
    return {b(kMultiply, {g, b(kAdd, {cdf, b(kMultiply, {x, density})})})};
  }
  // With u = k (x + a x^3) and t = tanh u: (1 + t) / 2 + x (1 - t^2) / 2 * k (1 + 3 a x^2)
  const double k = std::numbers::sqrt2 * std::numbers::inv_sqrtpi, a = 0.044715;
  const Value square = b(kSquare, {x});
  const Value u = b(kMultiply, {Times(b, x, k), Plus(b, Times(b, square, a), 1.0)});
  const Value t = b(kTanh, {u});
  const Value inner = Plus(b, Times(b, square, 3.0 * a * k), k);
  const Value bend = b(kTanhGrad, {b(kMultiply, {Times(b, x, 0.5), inner}), t});
  return {b(kMultiply, {g, b(kAdd, {Times(b, Plus(b, t, 1.0), 0.5), bend})})};
}

}  // namespace

constinit const OpDef ops::kGeluGrad = {
    .name = "gelu_grad",
    .doc =
        "g times the slope of gelu at x.\n"
        "approximate: as for gelu.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.elementwise = true, .internal = true},
    .infer = InferElementwise,
    .grad = NoGrad("its decomposition is differentiated instead"),
    .decompose = Decompose,
    .scalar = kernels::ScalarOp::kGeluGrad,
};

}  // namespace ostria
