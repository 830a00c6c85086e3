// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/collective.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"xs", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {kReductionAttr, kCallsAttr};
constexpr OutputDef kOutputs[] = {{"ys", Arity::kVariadic}};

// Every rank's result depends on every rank's operand, and each rank knows the cotangent of its own
// result: they add up.
void Grad(GradContext& c) {
  RequireSum(c, AllReduceAttr::kReduction);
  std::vector<int> wanted;
  std::vector<Value> cotangents;
  for (int i = 0; i < c.size(); ++i) {
    if (!c.Needs(i)) continue;
    wanted.push_back(i);
    cotangents.push_back(c.cotangent(i));
  }
  const std::vector<Value> g = c.b.Multi(kAllReduce, cotangents);
  for (size_t i = 0; i < wanted.size(); ++i) c.Set(wanted[i], g[i]);
}

}  // namespace

constinit const OpDef ops::kAllReduce = {
    .name = "all_reduce",
    .doc =
        "Each tensor reduced over all replicas, element by element; every replica gets the same.\n"
        "Outside of a distributed run there is one replica, and tensors stay as they are. All "
        "replicas call\n"
        "it equally often, in one order and with equal shapes. The gradient of a sum is the sum of "
        "the\n"
        "replicas' cotangents.\n"
        "xs: one or more tensors of numbers, of one dtype.\n"
        "reduction: 'sum', 'min' or 'max'; NaN wins over numbers, but NCCL promises that\n"
        "of sums alone.\n"
        "calls: how many tensors go into each call of the transport, as the plan decides; one each "
        "when empty.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kCollective,
    .infer = InferAllReduce,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
