// SPDX-License-Identifier: Apache-2.0
// A device for tests of what runs on devices: its kernels are the CPU's, but every stream computes
// in a thread of its own, late, and in memory that the host cannot touch by mistake. Counts what
// the runtime asks of it.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/device.h"

namespace ostria {

struct SimCounts {
  std::atomic<int64_t> allocations = 0;     // of memory that was not at hand
  std::atomic<int64_t> waits = 0;           // the host waited for an event or a stream
  std::atomic<int64_t> binds = 0;           // kernels bound
  std::atomic<int64_t> launches = 0;        // kernels put into a stream, not into a recording
  std::atomic<int64_t> captures = 0;        // recordings made
  std::atomic<int64_t> graph_launches = 0;  // recordings launched
  std::atomic<int64_t> forbidden = 0;       // done while capturing, and may not be
};

/// The counts; registers the device as the CUDA backend of this process.
SimCounts& Sim();
DeviceId SimDevice(int ordinal = 0);

}  // namespace ostria
