// SPDX-License-Identifier: Apache-2.0
// What preparing a control node leaves for running it, in the calling thread or on a device.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/kernel.h"
#include "ops/common/control.h"
#include "runtime/control.h"

namespace ostria {

// What a loop does with one carry.
struct Carry {
  int64_t bytes = 0;
  int64_t spare = 0;  // offset in the workspace
};

struct ControlState final : KernelState {
  std::vector<BodyPlan> bodies;
  std::vector<Carry> carries;
  std::vector<int64_t> row_bytes;  // scan: of every xs, then of every ys
  ops::ScanParts scan;
  int captures = 0;        // while_loop
  int64_t max_steps = -1;  // while_loop
  int64_t counters = 0;    // offset of the step number and the condition's result
  int num_inputs = 0, num_outputs = 0;
  bool computes = true;  // false on the device that computes nothing
};

/// Sets the carries, rows of xs and rows of ys of round `t` of a scan whose node has `ptrs`;
/// returns the number of the row.
int64_t BindRound(const ControlState& s, void* const* ptrs, int64_t t, void** inputs,
                  void** outputs);

/// scan where the steps of the body are put into a stream, round after round.
std::unique_ptr<KernelState> BindScan(const std::shared_ptr<const KernelState>& state,
                                      const BindContext& to);
void LaunchBoundScan(const KernelState& state, void* const* ptrs);

/// while_loop there: its bodies count the steps (see Bounded and Counting in control.cpp), and the
/// stream repeats them.
std::unique_ptr<KernelState> BindWhile(const std::shared_ptr<const KernelState>& state,
                                       const BindContext& to);
void LaunchBoundWhile(const KernelState& state, void* const* ptrs);

}  // namespace ostria
