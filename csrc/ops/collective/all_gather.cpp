// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/collective.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {kReplicasAttr};

void Infer(InferContext& c) {
  const int64_t replicas = c.attr<int64_t>(AllGatherAttr::kReplicas);
  if (replicas < 1) c.Fail("replicas is ", replicas, "; it must be at least 1");
  Shape out = c.shape(0);
  if (out.rank() == 0) {
    c.Fail("a tensor of rank 0 has no axis to join along; expand_dims it first");
  }
  out[0] = out[0] * replicas;
  c.Out(c.dtype(0), out);
}

void Grad(GradContext& c) {
  c.Set(0, c.b(kReduceScatter, {c.cotangent()},
               {std::string("sum"), c.attr<int64_t>(AllGatherAttr::kReplicas)}));
}

}  // namespace

constinit const OpDef ops::kAllGather = {
    .name = "all_gather",
    .doc =
        "The replicas' tensors behind each other along axis 0, in the order of ranks.\n"
        "All replicas call it equally often, in one order and with equal shapes.\n"
        "x: rank 1 or more.\n"
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
