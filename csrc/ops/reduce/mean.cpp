// SPDX-License-Identifier: Apache-2.0
#include "ops/common/reduce.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  const Shape shape = c.b.shape(c.input(0));
  const Value g = c.b(kDivide, {c.cotangent(), ReducedCount(c, c.b.dtype(c.input(0)))});
  c.Set(0, BroadcastTo(c.b, KeepDims(c, g), shape));
}

}  // namespace

constinit const OpDef ops::kMean = {
    .name = "mean",
    .doc =
        "The arithmetic mean over axes; 0 for no elements, so that the loss of no rows is 0.\n"
        "Floating-point only.\n"
        "axis: the axes to reduce, all of them when empty.\n"
        "keepdims: keep reduced axes with size 1.",
    .inputs = kReduceInputs,
    .attrs = kReduceAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kFp32},
    .infer = InferReduceFloat,
    .grad = Grad,
    .on_empty = OnEmpty::kZero,
    .flops = ReduceFlops,
};

}  // namespace ostria
