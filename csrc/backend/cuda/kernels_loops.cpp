// SPDX-License-Identifier: Apache-2.0
// Fused groups, and every single op that is a loop: generated code, compiled when the plan is
// bound.
#include <algorithm>
#include <array>
#include <vector>

#include "backend/cuda/codegen.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/nvrtc_cache.h"
#include "backend/loop_node.h"
#include "base/check.h"
#include "loop/build.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

struct LoopState final : KernelState {
  std::shared_ptr<const GeneratedLoop> loop;
  int capability = 0;
  size_t workspace = 0;  // which pointer of the node it is
};

struct BoundLoop final : KernelState {
  std::shared_ptr<const LoopState> plan;
  const CudaStream* stream = nullptr;
  std::vector<CUfunction> functions;
};

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

std::unique_ptr<KernelState> StateOf(const NodeDesc& d, const Graph& body,
                                     std::shared_ptr<const GeneratedLoop> loop) {
  auto state = std::make_unique<LoopState>();
  state->workspace_bytes = loop->workspace_bytes;
  state->detail = StrCat(OpNames(body), ":", loop->form);
  state->capability = d.device->compute_capability;
  state->workspace = d.inputs.size() + d.outputs.size();
  NvrtcCache::Get().Expect(loop->text, state->capability);
  state->loop = std::move(loop);
  return state;
}

Support Supports(const NodeDesc& d) {
  const Made& made = Make(d);
  return made.loop != nullptr ? NeedsDense(d) : Support::No(made.why);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  return StateOf(d, *std::get<Body>(d.attrs[0]), Make(d).loop);
}

bool AliasOk(const NodeDesc& d, int out, int in) {
  const Made& made = Make(d);
  return made.loop != nullptr && made.loop->alias_ok[out][in];
}

std::unique_ptr<KernelState> Bind(const std::shared_ptr<const KernelState>& state,
                                  const BindContext& to) {
  auto bound = std::make_unique<BoundLoop>();
  bound->plan = std::static_pointer_cast<const LoopState>(state);
  bound->stream = &StreamOf(to);
  const GeneratedLoop& loop = *bound->plan->loop;
  const auto image = NvrtcCache::Get().Image(loop.text, bound->plan->capability);
  for (const LoopLaunch& l : loop.launches) {
    bound->functions.push_back(StreamOf(to).cuda().Generated(*image, l.function));
  }
  return bound;
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& bound = static_cast<const BoundLoop&>(state);
  const GeneratedLoop& loop = *bound.plan->loop;
  std::array<uint64_t, kMostLoopWords> params;
  size_t n = 0;
  const auto add = [&](const void* p) { params[n++] = reinterpret_cast<uintptr_t>(p); };
  for (int p : loop.pointers) add(ptrs[p]);
  add(loop.workspace_bytes > 0 ? ptrs[bound.plan->workspace] : nullptr);
  for (uint64_t word : loop.words) params[n++] = word;
  for (size_t k = 0; k < loop.launches.size(); ++k) {
    LaunchKernel(*bound.stream, bound.functions[k], loop.launches[k].shape, params.data(),
                 n * sizeof params[0]);
  }
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
  return StateOf(d, body, std::move(loop));
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
                                  .launch = Launch,
                                  .alias_ok = AliasOk,
                                  .bind = Bind}};
  const OpDef* const others[] = {&ops::kCast,    &ops::kBroadcastTo, &ops::kIota, &ops::kOneHot,
                                 &ops::kDropout, &ops::kSum,         &ops::kMean, &ops::kProd,
                                 &ops::kMax,     &ops::kMin};
  for (const OpDef* op : ops::AllOps()) {
    const bool other = std::find(std::begin(others), std::end(others), op) != std::end(others);
    const bool composite = (op->traits.loop || op->traits.elementwise) && op->decompose != nullptr;
    if (!op->scalar && !other && !composite) continue;
    list.push_back({.op = op,
                    .impl = "loop",
                    .supports = SupportsOne,
                    .prepare = PrepareOne,
                    .launch = Launch,
                    .alias_ok = OneAliasOk,
                    .bind = Bind});
  }
  return list;
}

}  // namespace

std::span<const KernelDef> LoopKernels() {
  static const std::vector<KernelDef> kernels = Kernels();
  return kernels;
}

}  // namespace ostria::cuda
