// SPDX-License-Identifier: Apache-2.0
#include "runtime/executable.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <mutex>

#include "backend/backend.h"
#include "backend/communicator.h"
#include "base/check.h"
#include "ops/common/control.h"
#include "runtime/arena.h"
#include "runtime/blame.h"
#include "runtime/control.h"

namespace ostria {
namespace {

// What empty operands point at: never read, but not null either.
alignas(64) std::byte empty_operand[64];

// When a step fails, nothing that it started may touch the region that the next step writes.
class SettledReductions {
 public:
  SettledReductions() = default;
  SettledReductions(const SettledReductions&) = delete;
  SettledReductions& operator=(const SettledReductions&) = delete;
  ~SettledReductions() {
    if (group_ != nullptr && std::uncaught_exceptions() > exceptions_) group_->Settle();
  }

 private:
  Communicator* group_ = Communicator::Current();
  int exceptions_ = group_ == nullptr ? 0 : std::uncaught_exceptions();
};

bool AllOnHost(std::span<const Tensor> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.on_host(); });
}

std::vector<Tensor> OnHost(std::span<const Tensor> tensors) {
  std::vector<Tensor> out;
  for (const Tensor& t : tensors) out.push_back(t.OnHost());
  return out;
}

}  // namespace

Executable::Executable(std::shared_ptr<const Plan> plan,
                       std::vector<std::shared_ptr<Variable>> variables, DeviceId device,
                       Launching launching, Replica replica)
    : plan_(std::move(plan)),
      variables_(std::move(variables)),
      device_(device),
      replica_(replica),
      live_(LiveDevice::Of(device)) {
  try {
    Bind(launching);
  } catch (...) {  // memory may be short; the next plan may need less
    FreeKept();
    throw;
  }
}

void Executable::Bind(Launching launching) {
  CheckVariables();
  arena_ = ActivationArena::Of(device_);
  arena_->Require(plan_->stats.activation_bytes);
  if (const auto bytes = static_cast<size_t>(plan_->stats.kept_bytes); bytes > 0) {
    Backend& backend = FindBackend(device_.kind);
    kept_ = static_cast<std::byte*>(backend.Reserve(device_.ordinal, bytes));
    backend.Commit(device_.ordinal, kept_, bytes);
  }
  for (size_t i = 0; i < variables_.size(); ++i) {
    if (plan_->state[i].written)
      written_.push_back(variables_[i].get());
    else if (plan_->num_kept > 0)
      kept_sources_.push_back(variables_[i].get());
  }
  if (live_ != nullptr) {
    checks_data_ = ops::ChecksData(plan_->graph);
    const auto lock = live_->Lock();
    device_run_ = std::make_unique<DeviceRun>(plan_, *live_, launching,
                                              [this](const Operand& o) { return Address(o); });
    BindAddresses();
    return;
  }

  ptrs_.resize(plan_->operands.size());
  BindAddresses();
  for (size_t i = 0; i < plan_->operands.size(); ++i) {
    const Operand& o = plan_->operands[i];
    if (o.region == Region::kInput) input_patches_.push_back({static_cast<int32_t>(i), o.index});
    if (o.region == Region::kOutput) output_patches_.push_back({static_cast<int32_t>(i), o.index});
  }
  steps_.reserve(plan_->steps.size());
  for (const Step& s : plan_->steps) {
    steps_.push_back({s.pack ? s.kernel->pack : s.kernel->launch, s.state.get(),
                      ptrs_.data() + s.first_operand});
  }
  const auto writes_state = [&](const Step& s) {
    const auto* outputs = plan_->operands.data() + s.first_operand + s.num_inputs;
    return std::any_of(outputs, outputs + s.num_outputs,
                       [](const Operand& o) { return o.region == Region::kState; });
  };
  const auto& steps = plan_->steps;
  commit_step_ = replica_.commits_together
                     ? static_cast<size_t>(std::find_if(steps.begin(), steps.end(), writes_state) -
                                           steps.begin())
                     : steps.size();
}

Executable::~Executable() { FreeKept(); }

void Executable::FreeKept() {
  device_run_ = nullptr;
  if (kept_ == nullptr) return;
  if (live_ != nullptr) live_->Finish();
  FindBackend(device_.kind)
      .Release(device_.ordinal, kept_, static_cast<size_t>(plan_->stats.kept_bytes));
}

void Executable::CheckVariables() const {
  OSTRIA_CHECK(variables_.size() == plan_->state.size());
  for (size_t i = 0; i < variables_.size(); ++i) {
    const StateSlot& slot = plan_->state[i];
    const ValueType type{variables_[i]->dtype(), variables_[i]->copy_shape()};
    if (type != slot.type) {
      Fail(ErrorCode::kInvalidArgument, "variable '", variables_[i]->name(), "' is ", type,
           ", but the plan was made for '", slot.name, "' as ", slot.type);
    }
  }
}

// Of variables, that is: all else stays where it is.
void Executable::BindAddresses() {
  const int64_t moves = Variable::moves();
  for (const auto& v : variables_) {
    if (device_.kind == DeviceKind::kNull) continue;
    const bool has_copy = replica_.copy < v->num_copies();
    if (has_copy && v->device(replica_.copy) == device_) continue;
    Fail(ErrorCode::kInvalidArgument, "variable '", v->name(), "' is on ", ToString(v->device()),
         ", but the plan is bound to ", ToString(device_), "; move it back with MoveTo");
  }
  has_copies_ = std::any_of(variables_.begin(), variables_.end(),
                            [](const auto& v) { return v->num_copies() > 1; });
  if (device_run_ != nullptr) device_run_->Forget();
  for (size_t i = 0; i < ptrs_.size(); ++i) ptrs_[i] = Address(plan_->operands[i]);
  moves_ = moves;
}

void* Executable::Address(const Operand& o) const {
  switch (o.region) {
    case Region::kActivation: return arena_->base() + o.offset;
    case Region::kState:
      return static_cast<std::byte*>(
                 variables_[static_cast<size_t>(o.index)]->data(replica_.copy)) +
             o.offset;
    case Region::kConstant: return const_cast<std::byte*>(plan_->constants.data()) + o.offset;
    case Region::kKept: return kept_ + o.offset;
    case Region::kUnread: return nullptr;
    case Region::kInput:
    case Region::kOutput:
    case Region::kNone: break;
  }
  return empty_operand;
}

void Executable::MakeOutputs(std::span<const Tensor> inputs, std::vector<Tensor>* outputs) const {
  OSTRIA_CHECK(inputs.size() == plan_->inputs.size());
  outputs->resize(plan_->outputs.size());
  for (size_t i = 0; i < outputs->size(); ++i) {
    (*outputs)[i] = Tensor::Empty(plan_->outputs[i].dtype, plan_->outputs[i].shape);
  }
}

void Executable::BindCall(std::span<const Tensor> inputs, const std::vector<Tensor>& outputs) {
  for (const Patch& p : input_patches_) ptrs_[p.slot] = inputs[p.index].raw();
  for (const Patch& p : output_patches_) ptrs_[p.slot] = outputs[p.index].raw();
}

void Executable::RunCopies(std::span<const Tensor> inputs, const std::vector<Tensor>& outputs) {
  const auto address = [&](const Operand& o) {
    if (o.region == Region::kInput) return inputs[o.index].raw();
    if (o.region == Region::kOutput) return outputs[o.index].raw();
    return Address(o);
  };
  for (const Copy& c : plan_->copies) {
    std::memcpy(address(c.to), address(c.from), static_cast<size_t>(c.bytes));
  }
}

void Executable::FailAt(size_t step, const Error& error) const {
  if (step >= plan_->steps.size()) throw Error(error);  // of no step
  const auto* inner = dynamic_cast<const BodyError*>(&error);
  Error named = NamedError(*plan_, step, error);
  if (inner != nullptr) named.At(ShortLocation(inner->where()));
  throw named.At(ShortLocation(WhereOf(*plan_, step, error)));
}

void Executable::MarkWritten() {
  if (written_.empty()) return;
  const int64_t now = StateClock::Tick();
  if (!has_copies_) {
    for (Variable* v : written_) v->MarkWritten(now);
    return;
  }
  for (Variable* v : written_) {
    if (replica_.is_one) {
      v->MarkCopyWritten(now);
    } else {
      v->MarkWritten(now);
      v->MarkBehind();
    }
  }
}

bool Executable::KeptIsFresh(int64_t now) const {
  if (kept_at_ == now || kept_at_ < 0) return kept_at_ == now;
  return std::all_of(kept_sources_.begin(), kept_sources_.end(),
                     [&](const Variable* v) { return v->written_at() <= kept_at_; });
}

void Executable::RunKept(size_t* step) {
  const auto end = static_cast<size_t>(plan_->num_kept);
  const int64_t now = StateClock::Now();
  if (!KeptIsFresh(now)) {
    kept_at_ = -1;  // a step may throw
    for (size_t& i = *step; i < end; ++i) steps_[i].launch(*steps_[i].state, steps_[i].ptrs);
  }
  *step = end;
  kept_at_ = now;
}

void Executable::MeetToCommit() const {
  if (!replica_.commits_together) return;
  if (Communicator* all = Communicator::Current()) all->Barrier("commit of state");
}

void Executable::RunSteps(size_t* step) {
  size_t& i = *step;
  const size_t commit = commit_step_;
  for (; i < commit; ++i) steps_[i].launch(*steps_[i].state, steps_[i].ptrs);
  MeetToCommit();
  const size_t end = steps_.size();
  for (; i < end; ++i) steps_[i].launch(*steps_[i].state, steps_[i].ptrs);
}

void Executable::Run(std::span<const Tensor> inputs, std::vector<Tensor>* outputs) {
  if (live_ != nullptr) return RunOnDevice(inputs, outputs, nullptr);
  if (!AllOnHost(inputs)) return Run(OnHost(inputs), outputs);
  MakeOutputs(inputs, outputs);
  size_t i = steps_.size();
  try {
    std::lock_guard lock(arena_->mutex());
    FollowVariables();
    i = 0;
    BindCall(inputs, *outputs);
    MarkWritten();
    RunKept(&i);
    const SettledReductions settled;
    RunSteps(&i);
    RunCopies(inputs, *outputs);
  } catch (Error& e) {
    FailAt(i, e);
  }
}

void Executable::CheckSources(std::span<const Tensor> inputs) const {
  const auto require = [](const ValueType& t, const void* data, std::string_view what,
                          std::string_view name) {
    if (AllFinite(t.dtype, data, t.shape.numel())) return;
    Fail(ErrorCode::kNonFinite, what, " '", name, "' (", t,
         ") holds NaN or infinity before the first op runs; look at where it comes from");
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    require(plan_->inputs[i], inputs[i].OnHost().raw(), "input",
            plan_->graph.input_name(static_cast<int>(i)));
  }
  for (size_t i = 0; i < variables_.size(); ++i) {
    require(plan_->state[i].type, variables_[i]->SnapshotCopy(replica_.copy).raw(), "variable",
            plan_->state[i].name);
  }
}

void Executable::RunDebug(std::span<const Tensor> inputs, std::vector<Tensor>* outputs) {
  if (live_ != nullptr) return RunDebugOnDevice(inputs, outputs);
  if (!AllOnHost(inputs)) return RunDebug(OnHost(inputs), outputs);
  MakeOutputs(inputs, outputs);
  CheckSources(inputs);
  size_t i = steps_.size();
  try {
    std::lock_guard lock(arena_->mutex());
    FollowVariables();
    i = 0;
    BindCall(inputs, *outputs);
    const CheckedBodies checked;
    MarkWritten();
    kept_at_ = -1;  // every step is looked at
    const int64_t now = StateClock::Now();
    const SettledReductions settled;
    for (; i < commit_step_; ++i) RunStepChecked(*plan_, i, steps_[i].ptrs);
    MeetToCommit();
    for (; i < steps_.size(); ++i) RunStepChecked(*plan_, i, steps_[i].ptrs);
    kept_at_ = now;
    RunCopies(inputs, *outputs);
  } catch (const FusedNonFinite& found) {  // after the lock: single ops take it too
    BlameBody(*found.body, found.inputs);
    Error error(ErrorCode::kNonFinite, "fused", found.message);
    FailAt(i, error);
  } catch (Error& e) {
    FailAt(i, e);
  }
}

std::vector<double> Executable::Profile(std::span<const Tensor> inputs, int runs) {
  if (live_ != nullptr) return ProfileOnDevice(inputs, runs);
  if (!AllOnHost(inputs)) return Profile(OnHost(inputs), runs);
  const std::vector<Tensor> saved = SaveState();
  std::vector<std::vector<double>> samples(steps_.size());
  std::vector<Tensor> outputs;
  for (int r = 0; r < std::max(runs, 1); ++r) {
    MakeOutputs(inputs, &outputs);
    std::lock_guard lock(arena_->mutex());
    FollowVariables();
    BindCall(inputs, outputs);
    MarkWritten();
    size_t first = 0;
    RunKept(&first);
    const SettledReductions settled;
    for (size_t i = first; i < steps_.size(); ++i) {
      if (i == commit_step_) MeetToCommit();
      const auto begin = std::chrono::steady_clock::now();
      steps_[i].launch(*steps_[i].state, steps_[i].ptrs);
      const std::chrono::duration<double, std::nano> took =
          std::chrono::steady_clock::now() - begin;
      samples[i].push_back(took.count());
    }
    if (commit_step_ == steps_.size()) MeetToCommit();
    RunCopies(inputs, outputs);
  }
  RestoreState(saved);
  return Medians(std::move(samples));
}

std::vector<Tensor> Executable::SaveState() const {
  std::vector<Tensor> saved;
  for (const auto& v : variables_) saved.push_back(v->SnapshotCopy(replica_.copy));
  return saved;
}

void Executable::RestoreState(std::span<const Tensor> saved) {
  for (size_t i = 0; i < variables_.size(); ++i) {
    if (replica_.is_one)
      variables_[i]->AssignCopy(replica_.copy, saved[i]);
    else
      variables_[i]->Assign(saved[i]);
  }
}

std::vector<double> Executable::Medians(std::vector<std::vector<double>> samples) {
  std::vector<double> medians;
  for (auto& s : samples) {
    if (s.empty()) {  // a kept step
      medians.push_back(0);
      continue;
    }
    std::nth_element(s.begin(), s.begin() + static_cast<std::ptrdiff_t>(s.size() / 2), s.end());
    medians.push_back(s[s.size() / 2]);
  }
  return medians;
}

}  // namespace ostria
