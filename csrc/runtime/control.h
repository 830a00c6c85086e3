// SPDX-License-Identifier: Apache-2.0
// Control ops at run time: kernels whose state holds the plans of their bodies. They need nothing
// of a device but its kernels and, for while_loop, a stream that repeats work, so every backend has
// them: all of them where kernels run in the calling thread, loops where work goes to a stream.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/kernel.h"
#include "runtime/plan.h"

namespace ostria {

/// One body of a control node: its plan, and where its parts lie in the node's workspace.
struct BodyPlan {
  std::string_view name;  // "body", "true_body"
  std::shared_ptr<const Plan> plan;
  int64_t times = 1;   // runs per run of the node, where that is known
  int64_t tables = 0;  // offset of the pointers of inputs, outputs and operands
  int64_t region = 0;  // offset of the body's own activation region
};

/// The bodies that a step of a plan runs; none for other steps.
std::span<const BodyPlan> BodiesOf(const KernelState& state);

/// Implementations of the control ops on a device, for KernelsFor to put before its own.
std::span<const KernelDef> ControlKernels(DeviceKind device);

/// An error of a body's step: the op is in front already, the line still to be found. Finding it
/// may wait for the interpreter, so it is left to whoever holds no lock.
class BodyError : public Error {
 public:
  BodyError(const Error& error, LocationId where) : Error(error), where_(where) {}
  LocationId where() const { return where_; }

 private:
  LocationId where_;
};

/// While one lives, bodies that run on this thread check every floating-point result.
class CheckedBodies {
 public:
  CheckedBodies();
  ~CheckedBodies();
  CheckedBodies(const CheckedBodies&) = delete;
  CheckedBodies& operator=(const CheckedBodies&) = delete;
};

/// The location of the step, or of the part of it that `error` is about.
LocationId WhereOf(const Plan& plan, size_t step, const Error& error);

/// `error` with the op of the step in front unless one is there.
Error NamedError(const Plan& plan, size_t step, const Error& error);

}  // namespace ostria
