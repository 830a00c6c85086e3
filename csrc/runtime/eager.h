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

/// Runs `op` where its inputs are: on the device of those that lie on one, else on the default
/// device. Scalars of the host go along. `attrs` must be complete. `outputs` is overwritten with
/// fresh tensors; reuse the vector. Throws Error(kInvalidArgument) for inputs of two devices, and
/// what infer and the kernels throw, without a location.
void RunEager(const OpDef& op, std::span<const Tensor> inputs, std::span<const Attr> attrs,
              std::vector<Tensor>* outputs);
/// Runs it on `device`, wherever its inputs are.
void RunEagerOn(DeviceId device, const OpDef& op, std::span<const Tensor> inputs,
                std::span<const Attr> attrs, std::vector<Tensor>* outputs);

/// Where the calling thread's new Variables lie and ops without inputs on a device run; at first
/// what the environment variable OSTRIA_DEVICE names, else the CPU.
DeviceId GetDefaultDevice();
void SetDefaultDevice(DeviceId device);

/// Whether eager calls look for the first non-finite value, as Executable::RunDebug does.
void SetEagerDebug(bool on);

struct EagerStats {
  int64_t hits = 0, misses = 0;
};
/// Of the calling thread.
EagerStats GetEagerStats();

}  // namespace ostria
