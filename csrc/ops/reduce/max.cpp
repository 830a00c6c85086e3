// SPDX-License-Identifier: Apache-2.0
#include "ops/common/reduce.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  Builder& b = c.b;
  const DType t = b.dtype(c.input(0));
  const Attr axes = c.attr<std::vector<int64_t>>(kReduceAxis);
  const Value hit = b(kEqual, {c.input(0), KeepDims(c, c.output())});
  const Value ones = Cast(b, hit, t);
  const Value share = b(kDivide, {KeepDims(c, c.cotangent()), b(kSum, {ones}, {axes, true})});
  c.Set(0, b(kWhere, {hit, share, Scalar(b, t, 0.0)}));
}

}  // namespace

constinit const OpDef ops::kMax = {
    .name = "max",
    .doc =
        "The largest element over axes; NaN if one is NaN.\n"
        "Of no elements it is -inf, and an error for integers. The gradient is shared between "
        "ties.\n"
        "axis: the axes to reduce, all of them when empty.\n"
        "keepdims: keep reduced axes with size 1.",
    .inputs = kReduceInputs,
    .attrs = kReduceAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false},
    .infer = InferExtremum,
    .grad = Grad,
    .on_empty = OnEmpty::kMinusInfinity,
    .flops = ReduceFlops,
};

}  // namespace ostria
