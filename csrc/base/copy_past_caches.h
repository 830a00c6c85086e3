// SPDX-License-Identifier: Apache-2.0
// For what this core does not read again soon: its caches keep what they have. And for what a core
// reads next that shares no cache with it: from memory it has that sooner than out of another's
// cache.
#pragma once

#include <cstdint>

namespace ostria {

/// memcpy to memory itself. What a thread stores later is seen after it.
void CopyPastCaches(void* dst, const void* src, int64_t bytes);

}  // namespace ostria
