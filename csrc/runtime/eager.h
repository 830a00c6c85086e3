// SPDX-License-Identifier: Apache-2.0
// Eager calls: a cached plan of one node. There is no second runtime, so eager and compiled code
// run the same kernels on the same checks.
#pragma once

#include <span>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"
#include "ir/op_def.h"

namespace ostria {

/// Runs `op` on the CPU. `attrs` must be complete. `outputs` is overwritten with fresh tensors;
/// reuse the vector. Throws what infer and the kernels throw, without a location.
void RunEager(const OpDef& op, std::span<const Tensor> inputs, std::span<const Attr> attrs,
              std::vector<Tensor>* outputs);

/// Whether eager calls look for the first non-finite value, as Executable::RunDebug does.
void SetEagerDebug(bool on);

struct EagerStats {
  int64_t hits = 0, misses = 0;
};
/// Of the calling thread.
EagerStats GetEagerStats();

}  // namespace ostria
