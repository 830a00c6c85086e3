// SPDX-License-Identifier: Apache-2.0
// For what this core does not read again soon: its caches keep what they have. And for what another
// core reads next, which need not share a cache with this one.
#pragma once

#include <cstdint>

namespace ostria {

/// memcpy to memory itself. What a thread stores later is seen after it.
void CopyPastCaches(void* dst, const void* src, int64_t bytes);

}  // namespace ostria
