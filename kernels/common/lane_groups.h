// SPDX-License-Identifier: Apache-2.0
// Groups of lanes that take one row each, as many lanes as a row has use for.
#pragma once

#include "kernels/common/kernel.h"

namespace ostria::kernels {

/// Lanes for a row of `cols` elements: a power of two, at most a warp.
constexpr int LanesOfRow(int64_t cols) {
  int lanes = 1;
  while (lanes < 32 && lanes < cols) lanes *= 2;
  return lanes;
}

#if defined(OSTRIA_KERNEL_CODE)
/// A thread's group among those of the grid's first axis; blocks are whole warps.
struct LaneGroups {
  int lane;
  int64_t first, count;  // its first row, and how many groups there are

  OSTRIA_DEVICE explicit LaneGroups(int lanes) {
    const int shift = __ffs(lanes) - 1;
    lane = static_cast<int>(threadIdx.x) & (lanes - 1);
    first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) >> shift;
    count = int64_t{gridDim.x} * blockDim.x >> shift;
  }
};
#endif

}  // namespace ostria::kernels
