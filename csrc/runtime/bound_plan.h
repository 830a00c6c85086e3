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
  /// With the device's lock held.
  BoundPlan(std::shared_ptr<const Plan> plan, LiveDevice& device);
  ~BoundPlan();
  BoundPlan(const BoundPlan&) = delete;
  BoundPlan& operator=(const BoundPlan&) = delete;

  const Plan& plan() const { return *plan_; }
  std::byte* constants() const { return static_cast<std::byte*>(constants_.get()); }
  /// Puts step `i` into the main stream. `ptrs`: its inputs, outputs and workspace.
  void Launch(size_t i, void* const* ptrs) const {
    const Launchable& s = steps_[i];
    s.launch(*s.state, ptrs);
  }

 private:
  struct Launchable {
    LaunchFn launch = nullptr;
    std::shared_ptr<const KernelState> state;
  };
  std::shared_ptr<const Plan> plan_;
  LiveDevice& device_;
  int32_t first_step_ = 0;
  std::shared_ptr<void> constants_;
  std::vector<Launchable> steps_;
};

}  // namespace ostria
