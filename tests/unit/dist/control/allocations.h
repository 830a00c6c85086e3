// SPDX-License-Identifier: Apache-2.0
// Sees every allocation of the binary that it is linked into.
#pragma once

#include <cstddef>

namespace ostria {
/// The largest one of this thread since it was set to 0.
extern thread_local size_t largest_allocation;
}  // namespace ostria
