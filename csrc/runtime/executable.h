// SPDX-License-Identifier: Apache-2.0
// Executable = Plan x device x base addresses. Running is a flat loop over prepared steps: no
// allocation, no lock, no Python. Executables of one device share one activation region, so their
// runs wait for each other: any thread may start one, and a step of state is never torn.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/plan.h"
#include "runtime/state_store.h"

namespace ostria {

class ActivationArena;

class Executable {
 public:
  /// `variables` in the order of plan->state. Throws Error when one does not fit its slot.
  Executable(std::shared_ptr<const Plan> plan, std::vector<std::shared_ptr<Variable>> variables,
             DeviceId device = {});
  ~Executable();

  const Plan& plan() const { return *plan_; }
  std::span<const std::shared_ptr<Variable>> variables() const { return variables_; }

  /// One step. `inputs` must have the plan's types; `outputs` are filled with fresh tensors (reuse
  /// the vector). An Error from a kernel carries the op and the user's line.
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
  void* Address(const Operand& operand) const;
  void MarkWritten();
  bool KeptIsFresh(int64_t now) const;
  /// Runs the kept steps if a Variable was written since, and sets `step` behind them.
  void RunKept(size_t* step);
  void MakeOutputs(std::span<const Tensor> inputs, std::vector<Tensor>* outputs) const;
  void BindCall(std::span<const Tensor> inputs, const std::vector<Tensor>& outputs);
  void CheckSources(std::span<const Tensor> inputs) const;
  void RunCopies(std::span<const Tensor> inputs, const std::vector<Tensor>& outputs);
  /// Not while holding the arena's mutex: finding the line may wait for the interpreter's lock,
  /// whose holder may wait for the arena.
  [[noreturn]] void FailAt(size_t step, const Error& error) const;

  std::shared_ptr<const Plan> plan_;
  std::vector<std::shared_ptr<Variable>> variables_;
  DeviceId device_;
  std::shared_ptr<ActivationArena> arena_;
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
};

}  // namespace ostria
