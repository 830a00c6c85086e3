// SPDX-License-Identifier: Apache-2.0
// Loops on a device that computes by itself. Every round of a scan goes into the stream at once, so
// a recording holds all of them; a while_loop's round goes there once, and the stream repeats it.
// Pointers are the host's; the numbers of the rounds lie ready on the device, or are carried there.
#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime/bound_plan.h"
#include "runtime/control_state.h"

namespace ostria {
namespace {

alignas(64) std::byte empty_operand[64];

void CopyBytes(Stream& stream, void* to, const void* from, int64_t bytes) {
  if (bytes > 0 && to != from) stream.CopyOnDevice(to, from, static_cast<size_t>(bytes));
}

// A body on one stream. Pointers are those of the round that is being put there, under the device's
// lock.
class BoundBody {
 public:
  BoundBody(const BodyPlan& body, LiveDevice& device, Stream& stream)
      : stream_(stream), offset_(body.region), plan_(body.plan, device, stream) {
    inputs.resize(body.plan->inputs.size());
    outputs.resize(body.plan->outputs.size());
    operands_.resize(body.plan->operands.size());
  }

  // One run on the inputs and outputs that are set.
  void Run(std::byte* workspace) const {
    const Plan& plan = plan_.plan();
    std::byte* const region = workspace + offset_;
    const auto address = [&](const Operand& o) -> void* {
      switch (o.region) {
        case Region::kActivation: return region + o.offset;
        case Region::kConstant: return plan_.constants() + o.offset;
        case Region::kInput: return inputs[static_cast<size_t>(o.index)];
        case Region::kOutput: return outputs[static_cast<size_t>(o.index)];
        case Region::kUnread: return nullptr;
        case Region::kState:
        case Region::kKept:  // bodies keep nothing
        case Region::kNone: break;
      }
      return empty_operand;
    };
    std::transform(plan.operands.begin(), plan.operands.end(), operands_.begin(), address);
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      plan_.Launch(i, operands_.data() + plan.steps[i].first_operand);
    }
    for (const Copy& c : plan.copies) CopyBytes(stream_, address(c.to), address(c.from), c.bytes);
  }

  mutable std::vector<void*> inputs, outputs;

 private:
  Stream& stream_;
  int64_t offset_;
  BoundPlan plan_;
  mutable std::vector<void*> operands_;
};

struct BoundScan final : KernelState {
  BoundScan(std::shared_ptr<const ControlState> plan, LiveDevice& device, Stream& stream)
      : plan(std::move(plan)), stream(stream), body(this->plan->bodies[0], device, stream) {}
  std::shared_ptr<const ControlState> plan;
  Stream& stream;
  BoundBody body;
  std::shared_ptr<void> rounds;  // 0, 1, 2, …
};

// The condition is computed once before the loop, and in it after each round.
struct BoundWhile final : KernelState {
  BoundWhile(std::shared_ptr<const ControlState> plan, LiveDevice& device, Stream& stream)
      : plan(std::move(plan)),
        stream(stream),
        inner(device.backend().MakeStream(device.id().ordinal)),
        first(this->plan->bodies[0], device, stream),
        again(this->plan->bodies[0], device, *inner),
        body(this->plan->bodies[1], device, *inner) {}
  std::shared_ptr<const ControlState> plan;
  Stream& stream;
  std::unique_ptr<Stream> inner;
  BoundBody first, again, body;
  std::shared_ptr<void> zero;
};

}  // namespace

std::unique_ptr<KernelState> BindScan(const std::shared_ptr<const KernelState>& state,
                                      const BindContext& to) {
  LiveDevice& device = *LiveDevice::Of(to.stream.device());
  auto bound = std::make_unique<BoundScan>(std::static_pointer_cast<const ControlState>(state),
                                           device, to.stream);
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
  const BoundBody& body = bound.body;
  void* const* results = ptrs + s.num_inputs;
  auto* workspace = static_cast<std::byte*>(ptrs[s.num_inputs + s.num_outputs]);
  std::copy_n(ptrs, p.captures, body.inputs.begin());
  for (int64_t t = 0; t < p.length; ++t) {
    const int64_t row = BindRound(s, ptrs, t, body.inputs.data(), body.outputs.data());
    body.inputs[p.first_x() + p.xs] = static_cast<int64_t*>(bound.rounds.get()) + row;
    body.Run(workspace);
  }
  if (p.length > 0) return;
  for (int k = 0; k < p.carries; ++k) {
    CopyBytes(bound.stream, results[k], ptrs[p.captures + k], s.carries[k].bytes);
  }
}

std::unique_ptr<KernelState> BindWhile(const std::shared_ptr<const KernelState>& state,
                                       const BindContext& to) {
  LiveDevice& device = *LiveDevice::Of(to.stream.device());
  auto bound = std::make_unique<BoundWhile>(std::static_pointer_cast<const ControlState>(state),
                                            device, to.stream);
  const Tensor zero = Tensor::Zeros(DType::kInt64, {1});
  bound->zero = device.Allocate(zero.bytes());
  device.Upload(bound->zero.get(), zero);
  return bound;
}

// Every round reads the carries where they end up, writes them to their spare places, and copies
// them back: a round that is repeated has the same addresses each time.
void LaunchBoundWhile(const KernelState& state, void* const* ptrs) {
  const auto& bound = static_cast<const BoundWhile&>(state);
  const ControlState& s = *bound.plan;
  auto* workspace = static_cast<std::byte*>(ptrs[s.num_inputs + s.num_outputs]);
  std::byte* const step = workspace + s.counters;
  std::byte* const holds = step + sizeof(int64_t);
  std::vector<void*>& inputs = bound.body.inputs;
  std::copy_n(ptrs, s.captures, inputs.begin());
  std::copy_n(ptrs + s.num_inputs, s.num_outputs, inputs.begin() + s.captures);
  inputs.back() = step;
  for (const BoundBody* b : {&bound.first, &bound.again}) {
    std::copy(inputs.begin(), inputs.end(), b->inputs.begin());
  }
  bound.first.outputs[0] = bound.again.outputs[0] = holds;
  for (size_t k = 0; k < s.carries.size(); ++k) {
    bound.body.outputs[k] = workspace + s.carries[k].spare;
  }
  void* const* const carries = inputs.data() + s.captures;  // and the step
  for (int k = 0; k < s.num_outputs; ++k) {
    CopyBytes(bound.stream, carries[k], ptrs[s.captures + k], s.carries[k].bytes);
  }
  CopyBytes(bound.stream, step, bound.zero.get(), sizeof(int64_t));
  bound.first.Run(workspace);
  bound.stream.While(holds, *bound.inner, [&] {
    bound.body.Run(workspace);
    for (size_t k = 0; k < s.carries.size(); ++k) {
      CopyBytes(*bound.inner, carries[k], bound.body.outputs[k], s.carries[k].bytes);
    }
    bound.again.Run(workspace);
  });
}

}  // namespace ostria
