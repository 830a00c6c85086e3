// SPDX-License-Identifier: Apache-2.0
// Runs a plan for any device with the CPU's kernels on memory of its own, steps in an order drawn
// among those that streams and waits allow. Bytes that hold no value that is still needed are NaN,
// whatever the type; so are workspaces. What a GPU shows now and then (a missing edge, memory used
// again too early) is wrong here for some seed.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"
#include "runtime/plan.h"

namespace ostria {

struct ShuffledResult {
  std::vector<Tensor> outputs, state;
};

/// `state` in the order of plan.state. Throws what kernels throw.
ShuffledResult RunShuffled(const Plan& plan, const std::vector<Tensor>& inputs,
                           const std::vector<Tensor>& state, uint64_t seed);

}  // namespace ostria
