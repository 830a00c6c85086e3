// SPDX-License-Identifier: Apache-2.0
// scan on a device that computes by itself: every round's steps go into the stream at once, so a
// recording holds all of them. Pointers are the host's; the numbers of the rounds lie ready on the
// device.
#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime/bound_plan.h"
#include "runtime/control_state.h"

namespace ostria {
namespace {

alignas(64) std::byte empty_operand[64];

struct BoundScan final : KernelState {
  BoundScan(std::shared_ptr<const ControlState> plan, LiveDevice& device, Stream& stream)
      : plan(std::move(plan)), stream(stream), body(this->plan->bodies[0].plan, device, stream) {}
  std::shared_ptr<const ControlState> plan;
  Stream& stream;
  BoundPlan body;
  std::shared_ptr<void> rounds;  // 0, 1, 2, …
  // Pointers of the round that is being put into the stream, under the device's lock.
  mutable std::vector<void*> inputs, outputs, operands;
};

void CopyBytes(Stream& stream, void* to, const void* from, int64_t bytes) {
  if (bytes > 0) stream.CopyOnDevice(to, from, static_cast<size_t>(bytes));
}

// One run of the body on the inputs and outputs that are set.
void RunBody(const BoundScan& s, std::byte* region) {
  const Plan& plan = s.body.plan();
  const auto address = [&](const Operand& o) -> void* {
    switch (o.region) {
      case Region::kActivation: return region + o.offset;
      case Region::kConstant: return s.body.constants() + o.offset;
      case Region::kInput: return s.inputs[static_cast<size_t>(o.index)];
      case Region::kOutput: return s.outputs[static_cast<size_t>(o.index)];
      case Region::kUnread: return nullptr;
      case Region::kState:
      case Region::kKept:  // bodies keep nothing
      case Region::kNone: break;
    }
    return empty_operand;
  };
  std::transform(plan.operands.begin(), plan.operands.end(), s.operands.begin(), address);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    s.body.Launch(i, s.operands.data() + plan.steps[i].first_operand);
  }
  for (const Copy& c : plan.copies) CopyBytes(s.stream, address(c.to), address(c.from), c.bytes);
}

}  // namespace

std::unique_ptr<KernelState> BindScan(const std::shared_ptr<const KernelState>& state,
                                      const BindContext& to) {
  LiveDevice& device = *LiveDevice::Of(to.stream.device());
  auto bound = std::make_unique<BoundScan>(std::static_pointer_cast<const ControlState>(state),
                                           device, to.stream);
  const Plan& body = bound->body.plan();
  bound->inputs.resize(body.inputs.size());
  bound->outputs.resize(body.outputs.size());
  bound->operands.resize(body.operands.size());
  const Tensor rounds = Tensor::Empty(DType::kInt64, {bound->plan->scan.length});
  std::iota(rounds.data<int64_t>(), rounds.data<int64_t>() + rounds.numel(), 0);
  bound->rounds = device.Allocate(rounds.bytes());
  device.Upload(bound->rounds.get(), rounds);
  return bound;
}

void LaunchBoundScan(const KernelState& state, void* const* ptrs) {
  const auto& bound = static_cast<const BoundScan&>(state);
  const ControlState& s = *bound.plan;
  const ops::ScanParts& p = s.scan;
  void* const* results = ptrs + s.num_inputs;
  auto* workspace = static_cast<std::byte*>(ptrs[s.num_inputs + s.num_outputs]);
  std::copy_n(ptrs, p.captures, bound.inputs.begin());
  for (int64_t t = 0; t < p.length; ++t) {
    const int64_t row = BindRound(s, ptrs, t, bound.inputs.data(), bound.outputs.data());
    bound.inputs[p.first_x() + p.xs] = static_cast<int64_t*>(bound.rounds.get()) + row;
    RunBody(bound, workspace + s.bodies[0].region);
  }
  if (p.length > 0) return;
  for (int k = 0; k < p.carries; ++k) {
    CopyBytes(bound.stream, results[k], ptrs[p.captures + k], s.carries[k].bytes);
  }
}

}  // namespace ostria
