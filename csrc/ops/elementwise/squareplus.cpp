// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include "ops/common/elementwise.h"
#include "ops/common/via_float32.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kB };
constexpr AttrDef kAttrs[] = {{"b", AttrType::kFloat, "4"}};

void Infer(InferContext& c) {
  const double b = c.attr<double>(kB);
  if (!(b > 0)) c.Fail("b is ", b, ", but must be positive");
  InferUnaryFloat(c);
}

Value Root(Builder& b, Value x, std::span<const Attr> attrs) {
  const double round = std::get<double>(attrs[kB]);
  return b(kHypot, {x, Scalar(b, b.dtype(x), std::sqrt(round))});
}

// y' = (1 + x / s) / 2 = y / s
void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value root = Root(b, c.input(0), b.graph().attrs(c.node()));
  c.Set(0, b(kMultiply, {c.cotangent(), b(kDivide, {c.output(), root})}));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSquareplus, in, attrs);
  // (x + s) / 2 cancels below 0, where b / (2 (s - x)) is the same number.
  const DType dtype = b.dtype(in[0]);
  const double round = std::get<double>(attrs[kB]);
  const Value sum = b(kAdd, {Root(b, in[0], attrs), b(kAbs, {in[0]})});
  const Value positive = b(kGreater, {in[0], Scalar(b, dtype, 0.0)});
  const Value below = b(kDivide, {Scalar(b, dtype, 0.5 * round), sum});
  return {b(kWhere, {positive, Times(b, sum, 0.5), below})};
}

}  // namespace

constinit const OpDef ops::kSquareplus = {
    .name = "squareplus",
    .doc =
        "(x + sqrt(x^2 + b)) / 2, element by element: relu with a round corner (Barron 2021).\n"
        "Floating-point only.\n"
        "b: how round; positive.",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
};

}  // namespace ostria
