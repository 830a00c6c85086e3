// SPDX-License-Identifier: Apache-2.0
// The steps of a plan on a live device: kernels bound to its main stream, constants copied there.
// Whoever has one knows the addresses, and may launch steps in any order it likes.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "runtime/live_device.h"
#include "runtime/plan.h"

namespace ostria {

class BoundPlan {
 public:
  /// With the device's lock held. `first`: what the plan's stream 0 is; a body runs on the stream
  /// of its node.
  BoundPlan(std::shared_ptr<const Plan> plan, LiveDevice& device, Stream& first);
  ~BoundPlan();
  BoundPlan(const BoundPlan&) = delete;
  BoundPlan& operator=(const BoundPlan&) = delete;

  const Plan& plan() const { return *plan_; }
  std::byte* constants() const { return static_cast<std::byte*>(constants_.get()); }
  /// Puts step `i` into its stream. `ptrs`: its inputs, outputs and workspace.
  void Launch(size_t i, void* const* ptrs) const {
    const Launchable& s = steps_[i];
    s.launch(*s.state, ptrs);
  }

  /// The stream of step `i`.
  Stream& StreamOf(size_t i) const {
    const int32_t stream = plan_->steps[i].stream;
    return stream == 0 ? first_ : device_.stream(stream);
  }

  /// Calls `launch` for steps [begin, end), between what they wait for and what waits for them. The
  /// other streams begin after what is in the first one, which goes on when they have ended.
  template <class LaunchStep>
  void RunSteps(size_t begin, size_t end, LaunchStep&& launch) const {
    const int32_t streams = begin == end ? 1 : plan_->num_streams;
    std::vector<std::shared_ptr<const Event>> done(streams > 1 ? plan_->steps.size() : 0);
    if (streams > 1) Fork();
    try {
      for (size_t i = begin; i < end; ++i) {
        if (streams > 1) {
          for (int32_t w : plan_->steps[i].waits) {
            if (done[w] != nullptr) StreamOf(i).WaitFor(*done[w]);
          }
        }
        launch(i);
        if (streams > 1 && steps_[i].awaited) done[i] = StreamOf(i).Record();
      }
    } catch (...) {
      if (streams > 1) JoinAfterError();
      throw;
    }
    if (streams > 1) Join();
  }

 private:
  struct Launchable {
    LaunchFn launch = nullptr;
    std::shared_ptr<const KernelState> state;
    bool awaited = false;  // by a step of another stream
  };
  void Fork() const;
  void Join() const;
  /// Memory is let go in the first stream's order, so it must wait for the others even then.
  void JoinAfterError() const noexcept;

  std::shared_ptr<const Plan> plan_;
  LiveDevice& device_;
  Stream& first_;
  int32_t first_step_ = 0;
  std::shared_ptr<void> constants_;
  std::vector<Launchable> steps_;
};

}  // namespace ostria
