// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/collective.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {kReductionAttr, kReplicasAttr};

void Infer(InferContext& c) {
  RequireReduction(c, ReduceScatterAttr::kReduction);
  RequireNumber(c, 0);
  InferPart(c, ReduceScatterAttr::kReplicas);
}

void Grad(GradContext& c) {
  RequireSum(c, ReduceScatterAttr::kReduction);
  c.Set(0, c.b(kAllGather, {c.cotangent()}, {c.attr<int64_t>(ReduceScatterAttr::kReplicas)}));
}

}  // namespace

constinit const OpDef ops::kReduceScatter = {
    .name = "reduce_scatter",
    .doc =
        "A tensor reduced over all replicas, of which each replica gets its part of axis 0.\n"
        "All replicas call it equally often, in one order and with equal shapes.\n"
        "x: numbers; axis 0 is a multiple of the replicas.\n"
        "reduction: 'sum', 'min' or 'max'; NaN wins over numbers.\n"
        "replicas: how many there are; another number is an error at run time. Outside of a "
        "distributed\n"
        "run there is one.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kCollective,
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
