// SPDX-License-Identifier: Apache-2.0
// The nearest point of the probability simplex: max(x - tau, 0), where tau makes the sum 1 (Martins
// and Astudillo 2016). The k largest elements stay; tau is the mean of those less 1 / k.
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kAxis };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt, "-1"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  NormalizeAxis(c, c.attr<int64_t>(kAxis), c.shape(0));
  c.Out(c.input(0));
}

// The sum over the axis, which stays with size 1.
Value Total(Builder& b, Value v, int64_t axis) {
  return b(kSum, {v}, {std::vector<int64_t>{axis}, true});
}

// Among those that stay, what all have in common changes nothing.
void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value g = c.cotangent();
  const DType dtype = b.dtype(g);
  const int64_t axis = c.attr<int64_t>(kAxis);
  const Value stays = b(kGreater, {c.output(), Scalar(b, dtype, 0.0)});
  const Value mine = b(kWhere, {stays, g, Scalar(b, dtype, 0.0)});
  const Value mean = b(kDivide, {Total(b, mine, axis), Total(b, Cast(b, stays, dtype), axis)});
  c.Set(0, b(kWhere, {stays, b(kSubtract, {g, mean}), Scalar(b, dtype, 0.0)}));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSparsemax, in, attrs);
  const int64_t axis = std::get<int64_t>(attrs[kAxis]);
  const Shape shape = b.shape(in[0]);
  const DType dtype = b.dtype(in[0]);
  const int at = ops::Axis(axis, shape.rank());
  // Less the largest, so that sums do not lose the 1.
  const Value x = b(kSubtract, {in[0], b(kMax, {in[0]}, {std::vector<int64_t>{axis}, true})});
  const Value sorted = b(kSort, {x}, {axis, true});
  const Value index = b(kIota, {}, {Shape({shape[at]}), dtype});
  Shape column;
  for (int i = 0; i < shape.rank(); ++i) column.Append(i == at ? shape[at] : Dim(1));
  const Value k = Reshape(b, Plus(b, index, 1.0), column);
  const Value sums = Cast(b, b(kCumsum, {sorted}, {axis}), dtype);
  const Value stays = b(kGreater, {Plus(b, b(kMultiply, {k, sorted}), 1.0), sums});
  const Value count = Total(b, Cast(b, stays, dtype), axis);
  const Value kept = Total(b, b(kWhere, {stays, sorted, Scalar(b, dtype, 0.0)}), axis);
  const Value tau = b(kDivide, {Plus(b, kept, -1.0), count});
  return {b(kMaximum, {b(kSubtract, {x, tau}), Scalar(b, dtype, 0.0)})};
}

}  // namespace

constinit const OpDef ops::kSparsemax = {
    .name = "sparsemax",
    .doc =
        "Probabilities along an axis, zeros among them: the distribution that is nearest to x "
        "(Martins and Astudillo 2016).\n"
        "Floating-point only.\n"
        "axis: the axis whose elements sum to 1.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
};

}  // namespace ostria
