// SPDX-License-Identifier: Apache-2.0
#include "ops/common/reduce.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) {
  const Shape shape = c.b.shape(c.input(0));
  c.Set(0, BroadcastTo(c.b, KeepDims(c, c.cotangent()), shape));
}

}  // namespace

constinit const OpDef ops::kSum = {
    .name = "sum",
    .doc =
        "The sum over axes; 0 for no elements.\n"
        "Integers and bools are summed as int64 (unsigned ones as uint64), "
        "floats as their dtype "
        "with at least float32 inside.\n"
        "axis: the axes to sum over, all of them when empty.\n"
        "keepdims: keep reduced axes with size 1.",
    .inputs = kReduceInputs,
    .attrs = kReduceAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kFp32},
    .infer = InferAccumulate,
    .grad = Grad,
    .decompose = DecomposeAccumulate<kSum>,
    .on_empty = OnEmpty::kZero,
    .flops = ReduceFlops,
};

}  // namespace ostria
