// SPDX-License-Identifier: Apache-2.0
// With all_reduce_wait the two halves of an all_reduce that runs beside other steps. Made by pass
// overlap_reductions; between them nobody reads or writes the tensors.
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

constinit const OpDef ops::kAllReduceStart = {
    .name = "all_reduce_start",
    .doc =
        "An all_reduce that begins here and ends where all_reduce_wait takes its results.\n"
        "slot: a number that this pair alone has in its graph.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kInternalCollective,
    .infer = InferAllReduce,
    .grad = NoGrad("passes make it, after differentiation"),
    .flops = NoFlops,
};

}  // namespace ostria
