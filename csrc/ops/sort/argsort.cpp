// SPDX-License-Identifier: Apache-2.0
#include "ops/common/sort.h"

namespace ostria {

using namespace ops;

namespace {

void Infer(InferContext& c) {
  NormalizeAxis(c, c.attr<int64_t>(kSortAxis), c.shape(0));
  c.Out(DType::kInt64, c.shape(0));
}

double Flops(std::span<const ValueType> in, std::span<const ValueType>,
             std::span<const Attr> attrs) {
  return SortFlops(in, std::get<int64_t>(attrs[kSortAxis]));
}

}  // namespace

constinit const OpDef ops::kArgsort = {
    .name = "argsort",
    .doc =
        "The int64 positions that put the elements of x in order along an axis.\n"
        "Equal elements stay in their order; NaN comes last, descending too.\n"
        "axis: the axis.\n"
        "descending: the largest first.",
    .inputs = kSortInputs,
    .attrs = kSortAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false},
    .infer = Infer,
    .grad = NoGrad("the result is an integer"),
    .flops = Flops,
};

}  // namespace ostria
