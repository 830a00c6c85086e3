// SPDX-License-Identifier: Apache-2.0
#include "ops/common/collective.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"xs", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {kReductionAttr, kCallsAttr, {"slot", AttrType::kInt}};
constexpr OutputDef kOutputs[] = {{"ys", Arity::kVariadic}};

}  // namespace

constinit const OpDef ops::kAllReduceWait = {
    .name = "all_reduce_wait",
    .doc =
        "What all_reduce_start began, once it is done.\n"
        "slot: that of the start.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kInternalCollective,
    .infer = InferAllReduce,
    .grad = NoGrad("passes make it, after differentiation"),
    .flops = NoFlops,
};

}  // namespace ostria
