// SPDX-License-Identifier: Apache-2.0
// No collective: nobody waits for anybody. But who asks matters, so it is never folded or merged.
#include "ops/common/collective.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {kReplicasAttr};

void Infer(InferContext& c) { InferPart(c, ReplicaPartAttr::kReplicas); }

}  // namespace

constinit const OpDef ops::kReplicaPart = {
    .name = "replica_part",
    .doc =
        "The replica's part of axis 0 of what all replicas have, as reduce_scatter would give it.\n"
        "x: axis 0 is a multiple of the replicas.\n"
        "replicas: how many there are; another number is an error at run time. Outside of a "
        "distributed\n"
        "run there is one.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.pure = false, .internal = true},
    .infer = Infer,
    .grad = NoGrad("optimizers make it, after differentiation"),
    .flops = NoFlops,
};

}  // namespace ostria
