// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/codegen/loop_launch.h"

#include <array>
#include <vector>

#include "backend/cuda/cache/nvrtc_cache.h"
#include "backend/cuda/launch/launch.h"
#include "backend/repeated_bytes.h"

namespace ostria::cuda {
namespace {

struct LoopState final : KernelState, RepeatsBytes {
  std::shared_ptr<const GeneratedLoop> loop;
  int capability = 0;
  size_t workspace = 0;  // which pointer of the node it is
  std::vector<std::string> LaunchNames() const override {
    std::vector<std::string> names;
    for (const LoopLaunch& l : loop->launches) names.push_back(l.function);
    return names;
  }
  int64_t RepeatedBytes() const override { return loop->repeated_bytes; }
};

struct BoundLoop final : KernelState {
  std::shared_ptr<const LoopState> plan;
  const CudaStream* stream = nullptr;
  std::vector<CUfunction> functions;
};

}  // namespace

std::unique_ptr<KernelState> PlanLoop(const NodeDesc& d, const std::string& what,
                                      std::shared_ptr<const GeneratedLoop> loop) {
  auto state = std::make_unique<LoopState>();
  state->workspace_bytes = loop->workspace_bytes;
  state->detail = StrCat(what, ":", loop->form);
  state->capability = d.device->compute_capability;
  state->workspace = d.inputs.size() + d.outputs.size();
  NvrtcCache::Get().Expect(loop->text, state->capability);
  state->loop = std::move(loop);
  return state;
}

std::unique_ptr<KernelState> BindLoop(const std::shared_ptr<const KernelState>& state,
                                      const BindContext& to) {
  auto bound = std::make_unique<BoundLoop>();
  bound->plan = std::static_pointer_cast<const LoopState>(state);
  bound->stream = &StreamOf(to);
  const GeneratedLoop& loop = *bound->plan->loop;
  const auto image = NvrtcCache::Get().Image(loop.text, bound->plan->capability);
  for (const LoopLaunch& l : loop.launches) {
    bound->functions.push_back(
        StreamOf(to).cuda().Generated(image->name, image->cubin, l.function));
  }
  return bound;
}

void RunLoop(const KernelState& state, void* const* ptrs) {
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

}  // namespace ostria::cuda
