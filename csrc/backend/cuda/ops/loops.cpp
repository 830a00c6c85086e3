// SPDX-License-Identifier: Apache-2.0
// Fused groups, and every single op that is a loop: generated code, compiled when the plan is
// bound. cuDNN's engines for rows come second: they are compiled then too, and join no neighbours.
#include <algorithm>
#include <vector>

#include "backend/cuda/codegen/loop_launch.h"
#include "backend/cuda/cudnn/run.h"
#include "backend/cuda/ops/kernels.h"
#include "backend/loop_node.h"
#include "base/check.h"
#include "loop/build.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

struct Made {
  Body body;
  DeviceProps device;
  std::shared_ptr<const GeneratedLoop> loop;  // null: `why`
  std::string why;
};

std::shared_ptr<const GeneratedLoop> Generate(const Graph& body, const DeviceProps& device,
                                              std::string* why) {
  const auto program = BuildLoop(body, why);
  if (!program) return nullptr;
  auto loop = GenerateLoop(*program, device, why);
  return loop ? std::make_shared<const GeneratedLoop>(std::move(*loop)) : nullptr;
}

// supports, prepare and alias_ok are asked one after the other of the same node.
const Made& Make(const NodeDesc& d) {
  thread_local Made last;
  const Body& body = std::get<Body>(d.attrs[0]);
  if (last.body == body && last.device == *d.device) return last;
  last = {.body = body, .device = *d.device};
  last.loop = Generate(*body, *d.device, &last.why);
  return last;
}

Support Supports(const NodeDesc& d) {
  const Made& made = Make(d);
  return made.loop != nullptr ? NeedsDense(d) : Support::No(made.why);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  return PlanLoop(d, OpNames(*std::get<Body>(d.attrs[0])), Make(d).loop);
}

bool AliasOk(const NodeDesc& d, int out, int in) {
  const Made& made = Make(d);
  return made.loop != nullptr && made.loop->alias_ok[out][in];
}

// --- single ops

Support SupportsOne(const NodeDesc& d) {
  std::string why;
  if (Generate(BodyOf(d), *d.device, &why) == nullptr) return Support::No(why);
  return NeedsDense(d);
}

std::unique_ptr<KernelState> PrepareOne(const NodeDesc& d) {
  const Graph body = BodyOf(d);
  std::string why;
  auto loop = Generate(body, *d.device, &why);
  OSTRIA_CHECK(loop != nullptr, d.op->name, ": ", why);
  return PlanLoop(d, OpNames(body), std::move(loop));
}

bool OneAliasOk(const NodeDesc& d, int out, int in) {
  const auto loop = Generate(BodyOf(d), *d.device, nullptr);
  return loop != nullptr && loop->alias_ok[out][in];
}

std::vector<KernelDef> Kernels() {
  std::vector<KernelDef> list = {{.op = &ops::kFused,
                                  .impl = "loop",
                                  .supports = Supports,
                                  .prepare = Prepare,
                                  .launch = RunLoop,
                                  .alias_ok = AliasOk,
                                  .bind = BindLoop}};
  const OpDef* const others[] = {&ops::kCast,   &ops::kLogsumexp, &ops::kBroadcastTo, &ops::kIota,
                                 &ops::kOneHot, &ops::kDropout,   &ops::kSum,         &ops::kMean,
                                 &ops::kProd,   &ops::kMax,       &ops::kMin};
  for (const OpDef* op : ops::AllOps()) {
    const bool other = std::find(std::begin(others), std::end(others), op) != std::end(others);
    const bool composite = (op->traits.loop || op->traits.elementwise) && op->decompose != nullptr;
    if (!op->scalar && !other && !composite) continue;
    list.push_back({.op = op,
                    .impl = "loop",
                    .supports = SupportsOne,
                    .prepare = PrepareOne,
                    .launch = RunLoop,
                    .alias_ok = OneAliasOk,
                    .bind = BindLoop});
  }
  for (const OpDef* op :
       {&ops::kLayerNorm, &ops::kLayerNormGrad, &ops::kRmsNorm, &ops::kRmsNormGrad}) {
    list.push_back(CudnnKernel<DescribeRowNorm>(op));
  }
  return list;
}

}  // namespace

std::span<const KernelDef> LoopKernels() {
  static const std::vector<KernelDef> kernels = Kernels();
  return kernels;
}

}  // namespace ostria::cuda
