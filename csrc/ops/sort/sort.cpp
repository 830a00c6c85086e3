// SPDX-License-Identifier: Apache-2.0
#include "ops/common/sort.h"

#include "ir/grad_context.h"
#include "ops/common/build.h"

namespace ostria {

using namespace ops;

namespace {

void Infer(InferContext& c) {
  NormalizeAxis(c, c.attr<int64_t>(kSortAxis), c.shape(0));
  c.Out(c.input(0));
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value order =
      b(kArgsort, {c.input(0)}, {c.attr<int64_t>(kSortAxis), c.attr<bool>(kSortDescending)});
  const Value zeros = ZerosLike(b, c.input(0));
  c.Set(0, b(kPutAlongAxis, {zeros, order, c.cotangent()},
             {c.attr<int64_t>(kSortAxis), std::string("update")}));
}

double Flops(std::span<const ValueType> in, std::span<const ValueType>,
             std::span<const Attr> attrs) {
  return SortFlops(in, std::get<int64_t>(attrs[kSortAxis]));
}

}  // namespace

constinit const OpDef ops::kSort = {
    .name = "sort",
    .doc =
        "The elements of x in order along an axis.\n"
        "Equal elements stay in their order; NaN comes last, descending too.\n"
        "axis: the axis.\n"
        "descending: the largest first.",
    .inputs = kSortInputs,
    .attrs = kSortAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false},
    .infer = Infer,
    .grad = Grad,
    .flops = Flops,
};

}  // namespace ostria
