// SPDX-License-Identifier: Apache-2.0
// Running an executable on a device that computes by itself. The host's part of a run (who wrote
// which variable, what is kept) is done when the work is in the stream: everything later that reads
// it is put behind.
#include <algorithm>

#include "backend/communicator.h"
#include "ir/bytes.h"
#include "runtime/blame.h"
#include "runtime/executable.h"

namespace ostria {
namespace {

// With the device's lock held: the work of a step is waited for.
class DeviceAccess final : public StepAccess {
 public:
  DeviceAccess(const DeviceRun& run, size_t step) : run_(run), stream_(run.StreamOf(step)) {}
  void Launch(const Plan&, size_t step, void* const* ptrs) const override {
    run_.Launch(step, ptrs);
  }
  Tensor Read(const ValueType& type, const void* from) const override {
    Tensor t = Tensor::Empty(type.dtype, type.shape);
    if (t.bytes() == 0) return t;
    stream_.CopyToHost(t.raw(), from, static_cast<size_t>(t.bytes()));
    stream_.Record()->Wait();
    return t;
  }
  void Write(void* to, const Tensor& value) const override {
    if (value.bytes() == 0) return;
    stream_.CopyToDevice(to, value.raw(), static_cast<size_t>(value.bytes()));
    stream_.Record()->Wait();
  }

 private:
  const DeviceRun& run_;
  Stream& stream_;
};

}  // namespace

void Executable::RunOnDevice(std::span<const Tensor> inputs, std::vector<Tensor>* outputs,
                             const DeviceRun::EachStep* each) {
  outputs->clear();
  live_->ThrowDataError();
  std::vector<Tensor> here;  // instead of inputs that lie on other devices
  for (const Tensor& t : inputs) {
    if (t.on_host() || t.device() == device_) continue;
    for (const Tensor& u : inputs) here.push_back(u.device() == device_ ? u : u.OnHost());
    inputs = here;
    break;
  }
  size_t step = plan_->steps.size();
  Communicator* const group = Communicator::Current();
  if (group != nullptr) group->BeginRun();
  try {
    const auto lock = live_->Lock();
    device_run_->Join(group == nullptr ? nullptr : group->device_handle());
    FollowVariables();
    MarkWritten();
    const int64_t now = StateClock::Now();
    const bool kept = plan_->num_kept > 0 && (each != nullptr || !KeptIsFresh(now));
    kept_at_ = kept ? -1 : now;  // a step may throw
    if (checks_data_) live_->NoteChecks();
    device_run_->Run(inputs, kept, outputs, &step, each);
    kept_at_ = now;
    if (group != nullptr) group->EndRun(live_->main().Record());
  } catch (Error& e) {
    FailAt(step, e);
  }
}

void Executable::RunDebugOnDevice(std::span<const Tensor> inputs, std::vector<Tensor>* outputs) {
  CheckSources(inputs);
  size_t failing = 0;
  const DeviceRun::EachStep each = [&](size_t i, void* const* ptrs) {
    failing = i;
    RunStepChecked(*plan_, i, ptrs, DeviceAccess(*device_run_, i));
  };
  try {
    RunOnDevice(inputs, outputs, &each);
  } catch (const FusedNonFinite& found) {  // after the lock: single ops take it too
    BlameBody(*found.body, found.inputs);
    Error error(ErrorCode::kNonFinite, "fused", found.message);
    FailAt(failing, error);
  }
}

std::vector<double> Executable::ProfileOnDevice(std::span<const Tensor> inputs, int runs) {
  const std::vector<Tensor> saved = SaveState();
  std::vector<std::vector<double>> samples(plan_->steps.size());
  std::vector<Tensor> outputs;
  for (int r = 0; r < std::max(runs, 1); ++r) {
    std::vector<std::pair<std::shared_ptr<const Event>, std::shared_ptr<const Event>>> times(
        plan_->steps.size());
    const DeviceRun::EachStep each = [&](size_t i, void* const* ptrs) {
      Stream& stream = device_run_->StreamOf(i);
      times[i].first = stream.RecordTime();
      device_run_->Launch(i, ptrs);
      times[i].second = stream.RecordTime();
    };
    RunOnDevice(inputs, &outputs, &each);
    live_->Synchronize();
    for (auto i = static_cast<size_t>(plan_->num_kept); i < times.size(); ++i) {
      samples[i].push_back(1e9 * times[i].second->SecondsSince(*times[i].first));
    }
  }
  RestoreState(saved);
  return Medians(std::move(samples));
}

}  // namespace ostria
