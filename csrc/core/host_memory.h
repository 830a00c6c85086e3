// SPDX-License-Identifier: Apache-2.0
// Memory of host tensors. Blocks that were freed wait for the next tensor of their size: the system
// clears every page it hands out, which costs more than the arithmetic on it. Small blocks wait per
// thread, without a lock; larger ones for all threads. Address and thread sanitizers see every
// block anew.
#pragma once

#include <cstddef>

namespace ostria {

struct HostMemoryStats {
  size_t in_use = 0;  // bytes of tensors above 64 KiB, rounded up to size classes
  size_t peak = 0;    // the most that was in use since the start or the last EmptyHostCache
  size_t cached = 0;  // bytes that wait; in_use + cached is at most max(peak, 256 MiB)
};

/// 64-byte aligned memory, contents undefined. Throws Error(kOutOfMemory).
void* AllocateHost(size_t bytes);
/// Takes back what AllocateHost gave for the same number of bytes.
void FreeHost(void* data, size_t bytes) noexcept;

HostMemoryStats GetHostMemoryStats();
/// Returns the larger blocks that wait to the system, and begins a new peak; how many bytes.
size_t EmptyHostCache();
/// At most so many bytes wait from now on, 0: none; OSTRIA_CACHE_MB says it for a process.
void SetHostCacheLimit(size_t bytes);

/// The bytes of the block that a tensor of `bytes` gets: at most an eighth more, above 64 KiB.
size_t HostBlockSize(size_t bytes);

}  // namespace ostria
