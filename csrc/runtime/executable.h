// SPDX-License-Identifier: Apache-2.0
// Executable = Plan x device x base addresses. Running is a flat loop over prepared steps: no
// allocation, no lock, no Python. Executables of one device share one activation region, so their
// runs wait for each other: any thread may start one, and a step of state is never torn. On a
// device that computes by itself, running only puts the work into its stream (executable_device).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/device_run.h"
#include "runtime/plan.h"
#include "runtime/state_store.h"

namespace ostria {

class ActivationArena;

/// Which of several replicas an executable is.
struct Replica {
  int copy = 0;         // of its variables that it reads and writes
  bool is_one = false;  // of several: others write the other copies
  /// All replicas have looked at their data before one of them writes state
  /// (PlanOptions::commits_together): they meet there.
  bool commits_together = false;
};

class Executable {
 public:
  /// `variables` in the order of plan->state, on `device`. Throws Error when one does not fit its
  /// slot. `launching`: of a device that computes by itself.
  Executable(std::shared_ptr<const Plan> plan, std::vector<std::shared_ptr<Variable>> variables,
             DeviceId device = {}, Launching launching = Launching::kRecorded,
             Replica replica = {});
  ~Executable();

  const Plan& plan() const { return *plan_; }
  std::span<const std::shared_ptr<Variable>> variables() const { return variables_; }

  /// One step. `inputs` must have the plan's types; `outputs` are filled with fresh tensors (reuse
  /// the vector). An Error from a kernel carries the op and the user's line; a device reports bad
  /// data when a result is read, or to a later run.
  void Run(std::span<const Tensor> inputs, std::vector<Tensor>* outputs);
  /// Node by node, checking the inputs, the state and every floating-point result: throws
  /// Error(kNonFinite) that names the input, the variable, or the first op whose output is not
  /// finite, and the user's line.
  void RunDebug(std::span<const Tensor> inputs, std::vector<Tensor>* outputs);
  /// Median nanoseconds of each step over `runs` runs on the given inputs, 0 for what is kept from
  /// run to run. State is restored after.
  std::vector<double> Profile(std::span<const Tensor> inputs, int runs);

 private:
  struct Prepared {  // what the loop touches, packed
    LaunchFn launch;
    const KernelState* state;
    void* const* ptrs;
  };
  void Bind(Launching launching);
  void FreeKept();
  void* Address(const Operand& operand) const;
  void CheckVariables() const;
  void BindAddresses();
  void FollowVariables() {
    if (moves_ != Variable::moves()) BindAddresses();
  }
  void MarkWritten();
  bool KeptIsFresh(int64_t now) const;
  /// Runs the kept steps if a Variable was written since, and sets `step` behind them.
  void RunKept(size_t* step);
  void MakeOutputs(std::span<const Tensor> inputs, std::vector<Tensor>* outputs) const;
  void BindCall(std::span<const Tensor> inputs, const std::vector<Tensor>& outputs);
  void CheckSources(std::span<const Tensor> inputs) const;
  /// Runs steps from `step` on, and meets the other replicas before the first write of state.
  void RunSteps(size_t* step);
  void MeetToCommit() const;
  void RunCopies(std::span<const Tensor> inputs, const std::vector<Tensor>& outputs);
  /// Not while holding the arena's mutex: finding the line may wait for the interpreter's lock,
  /// whose holder may wait for the arena.
  [[noreturn]] void FailAt(size_t step, const Error& error) const;
  std::vector<Tensor> SaveState() const;
  void RestoreState(std::span<const Tensor> saved);
  static std::vector<double> Medians(std::vector<std::vector<double>> samples);

  // executable_device.cpp:
  void RunOnDevice(std::span<const Tensor> inputs, std::vector<Tensor>* outputs,
                   const DeviceRun::EachStep* each);
  void RunDebugOnDevice(std::span<const Tensor> inputs, std::vector<Tensor>* outputs);
  std::vector<double> ProfileOnDevice(std::span<const Tensor> inputs, int runs);

  std::shared_ptr<const Plan> plan_;
  std::vector<std::shared_ptr<Variable>> variables_;
  DeviceId device_;
  Replica replica_;
  size_t commit_step_ = 0;      // the first that writes state, where replicas meet before it
  LiveDevice* live_ = nullptr;  // nullptr: kernels run in the calling thread
  bool checks_data_ = false;    // of the device: a run may find bad data
  std::shared_ptr<ActivationArena> arena_;
  int64_t moves_ = 0;        // Variable::moves() when addresses were bound
  bool has_copies_ = false;  // then: a variable has several
  std::vector<Prepared> steps_;
  std::vector<void*> ptrs_;
  struct Patch {
    int32_t slot, index;
  };
  std::vector<Patch> input_patches_, output_patches_;

  // What the kept steps leave behind, and the StateClock when they read the state (-1: never).
  std::byte* kept_ = nullptr;
  int64_t kept_at_ = -1;
  std::vector<const Variable*> kept_sources_;
  std::vector<Variable*> written_;
  std::unique_ptr<DeviceRun> device_run_;  // where live_ is; goes first
};

}  // namespace ostria
