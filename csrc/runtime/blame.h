// SPDX-License-Identifier: Apache-2.0
// What debug mode does for one step: look for the first value that is not finite, and say which op
// made it, inside fused nodes too.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "runtime/plan.h"

namespace ostria {

/// Whether every element of a float tensor is finite; true for other dtypes.
bool AllFinite(DType dtype, const void* data, int64_t n);

/// A fused node with finite inputs and a result that is not. Thrown while the step runs, and looked
/// into when it is over: single ops take locks that the step holds.
struct FusedNonFinite {
  Body body;
  std::vector<Tensor> inputs;  // copies: the step may overwrite them
  std::string message;
};

/// How debug mode reaches the memory that a step works on: memory of the host, unless overridden.
class StepAccess {
 public:
  virtual ~StepAccess() = default;
  virtual void Launch(const Plan& plan, size_t step, void* const* ptrs) const;
  /// A value after the work so far, to be looked at before the next launch.
  virtual Tensor Read(const ValueType& type, const void* from) const;
  virtual void Write(void* to, const Tensor& value) const;
};

/// Runs step `i` and throws Error(kNonFinite), or FusedNonFinite, when a result is not finite
/// although every input is.
void RunStepChecked(const Plan& plan, size_t i, void* const* ptrs, const StepAccess& access = {});

/// Runs the body op by op and throws Error(kNonFinite) that names the first op with finite inputs
/// and a result that is not, and its line. Returns when there is none.
void BlameBody(const Graph& body, std::span<const Tensor> inputs);

}  // namespace ostria
