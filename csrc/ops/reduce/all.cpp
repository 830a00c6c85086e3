// SPDX-License-Identifier: Apache-2.0
#include "ops/common/reduce.h"

namespace ostria {

using namespace ops;

namespace {

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  return {b(kMin, {Cast(b, in[0], DType::kBool)}, {attrs.begin(), attrs.end()})};
}

}  // namespace

constinit const OpDef ops::kAll = {
    .name = "all",
    .doc =
        "Whether every element is true over axes; true for no elements.\n"
        "A number is true when it is not 0.\n"
        "axis: the axes to reduce, all of them when empty.\n"
        "keepdims: keep reduced axes with size 1.",
    .inputs = kReduceInputs,
    .attrs = kReduceAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false},
    .infer = InferAnyAll,
    .grad = NoGrad("the result is bool"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kOne,
    .flops = ReduceFlops,
};

}  // namespace ostria
