// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"
#include "ops/common/via_float32.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAlpha };
constexpr AttrDef kAttrs[] = {{"alpha", AttrType::kFloat, "1"}};

void Infer(InferContext& c) {
  const double alpha = c.attr<double>(kAlpha);
  if (!(alpha > 0)) c.Fail("alpha is ", alpha, ", but must be positive");
  InferUnaryFloat(c);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kCelu, in, attrs);
  const double alpha = std::get<double>(attrs[kAlpha]);
  const Value below = Times(b, b(kElu, {Times(b, in[0], 1.0 / alpha)}), alpha);
  if (alpha == 1.0) return {below};
  // x itself where it is positive: there and back it would be rounded, or overflow.
  const Value positive = b(kGreater, {in[0], Scalar(b, b.dtype(in[0]), 0.0)});
  return {b(kWhere, {positive, in[0], below})};
}

}  // namespace

constinit const OpDef ops::kCelu = {
    .name = "celu",
    .doc =
        "x where x > 0, else alpha * (exp(x / alpha) - 1), element by element: elu without a jump "
        "in its slope.\n"
        "Floating-point only.\n"
        "alpha: minus the limit for x toward minus infinity; positive.",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
