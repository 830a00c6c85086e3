// SPDX-License-Identifier: Apache-2.0
#include "ops/common/reduce.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  // An output of -inf comes from inputs of -inf: exp(x - 0) is their gradient 0, exp(x - y) would
  // be NaN.
  const Value y = KeepDims(c, c.output());
  const Value finite = b(kWhere, {b(kIsfinite, {y}), y, Scalar(b, b.dtype(y), 0.0)});
  const Value p = b(kExp, {b(kSubtract, {c.input(0), finite})});
  c.Set(0, b(kMultiply, {KeepDims(c, c.cotangent()), p}));
}

// With the maximum taken out first; an infinite one would give NaN and is taken out as 0.
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const Value x = in[0];
  const Value zero = Scalar(b, b.dtype(x), 0.0);
  const Value top = b(kMax, {x}, {attrs[kReduceAxis], true});
  const Value shift = b(kWhere, {b(kIsfinite, {top}), top, zero});
  const Value sum = b(kSum, {b(kExp, {b(kSubtract, {x, shift})})}, {attrs[kReduceAxis], true});
  const Value y = b(kAdd, {b(kLog, {sum}), shift});
  const auto axes = Axes(std::get<std::vector<int64_t>>(attrs[kReduceAxis]), b.shape(x).rank());
  return {Reshape(b, y, ReducedShape(b.shape(x), axes, std::get<bool>(attrs[kReduceKeepdims])))};
}

}  // namespace

constinit const OpDef ops::kLogsumexp = {
    .name = "logsumexp",
    .doc =
        "log(sum(exp(x))) over axes, without overflow; -inf for no elements.\n"
        "Floating-point only.\n"
        "axis: the axes to reduce, all of them when empty.\n"
        "keepdims: keep reduced axes with size 1.",
    .inputs = kReduceInputs,
    .attrs = kReduceAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kFp32},
    .infer = InferReduceFloat,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kMinusInfinity,
};

}  // namespace ostria
