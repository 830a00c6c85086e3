// SPDX-License-Identifier: Apache-2.0
#include "runtime/bound_plan.h"

#include <utility>

namespace ostria {

BoundPlan::BoundPlan(std::shared_ptr<const Plan> plan, LiveDevice& device, Stream& first)
    : plan_(std::move(plan)), device_(device), first_(first), first_step_(device.AddSteps(plan_)) {
  const auto bytes = static_cast<int64_t>(plan_->constants.size());
  if (bytes > 0) {
    constants_ = device_.Allocate(bytes);
    const auto buffer = Buffer::Borrow(const_cast<std::byte*>(plan_->constants.data()),
                                       plan_->constants.size(), [] {});
    device_.Upload(constants_.get(), Tensor(DType::kUInt8, Shape{bytes}, buffer));
  }
  steps_.reserve(plan_->steps.size());
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    const Step& s = plan_->steps[i];
    Launchable step{s.pack ? s.kernel->pack : s.kernel->launch, s.state};
    if (s.kernel->bind != nullptr) {
      step.state = s.kernel->bind(s.state, {StreamOf(i), first_step_ + static_cast<int32_t>(i)});
    }
    steps_.push_back(std::move(step));
  }
  for (const Step& s : plan_->steps) {
    for (int32_t w : s.waits) steps_[w].awaited = true;
  }
}

void BoundPlan::Fork() const {
  const auto begun = first_.Record();
  for (int32_t k = 1; k < plan_->num_streams; ++k) device_.stream(k).WaitFor(*begun);
}

void BoundPlan::Join() const {
  for (int32_t k = 1; k < plan_->num_streams; ++k) {
    first_.WaitFor(*device_.stream(k).Record());
  }
}

void BoundPlan::JoinAfterError() const noexcept {
  try {
    Join();
  } catch (const Error&) {  // the device's: the first error says more
  }
}

BoundPlan::~BoundPlan() { device_.RetireSteps(first_step_); }

}  // namespace ostria
