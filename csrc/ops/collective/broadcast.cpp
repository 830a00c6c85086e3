// SPDX-License-Identifier: Apache-2.0
#include "ops/common/collective.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"root", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  if (c.attr<int64_t>(BroadcastAttr::kRoot) < 0) {
    c.Fail("root is ", c.attr<int64_t>(BroadcastAttr::kRoot), "; it is a rank, 0 or more");
  }
  c.Out(c.input(0));
}

}  // namespace

constinit const OpDef ops::kBroadcast = {
    .name = "broadcast",
    .doc =
        "The tensor of one replica, on all of them; broadcast_to repeats along axes.\n"
        "All replicas call it equally often, in one order and with equal shapes.\n"
        "x: what replica `root` has; of the others it gives shape and dtype.\n"
        "root: a rank. Outside of a distributed run it is 0.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kCollective,
    .infer = Infer,
    .grad = NoGrad("only the root's operand has one, and no replica knows here which it is"),
    .flops = NoFlops,
};

}  // namespace ostria
