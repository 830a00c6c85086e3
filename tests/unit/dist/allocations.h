// SPDX-License-Identifier: Apache-2.0
// Sees every allocation of the binary that it is linked into.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ostria {
/// How many there were so far, of all threads. 0 under a sanitizer, which has a heap of its own.
extern std::atomic<int64_t> num_allocations;
/// The largest one of this thread since it was set to 0.
extern thread_local size_t largest_allocation;
}  // namespace ostria
