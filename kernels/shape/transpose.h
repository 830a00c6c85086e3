// SPDX-License-Identifier: Apache-2.0
// A strided copy whose innermost axis is another one in src than in dst: both sides are read and
// written in whole lines, by way of shared memory.
#pragma once

#include "kernels/common/layout.h"
#include "kernels/shape/copy_strided.h"

namespace ostria::kernels {

inline constexpr int kTransposeTile = 32, kTransposeThreads = 256;

struct TransposeParams {
  const void* src = nullptr;
  void* dst = nullptr;
  int64_t tiles = 0, across_tiles = 0, along_tiles = 0;  // all, and of one matrix on either axis
  // `across` is contiguous in src, `along` in dst; the strides are the other sides', in elements.
  int64_t across = 0, along = 0, src_stride = 0, dst_stride = 0;
  int64_t rank = 0;  // of the batch, outermost first
  int64_t sizes[kMaxCopyAxes - 2] = {};
  int64_t src_strides[kMaxCopyAxes - 2] = {}, dst_strides[kMaxCopyAxes - 2] = {};
};
OSTRIA_LAYOUT(TransposeParams, 80 + 24 * (kMaxCopyAxes - 2), src, dst, tiles, across_tiles,
              along_tiles, across, along, src_stride, dst_stride, rank, sizes, src_strides,
              dst_strides);

/// Whether the copy, not yet given addresses, swaps two axes of at least half a tile.
inline bool PlanTranspose(const StridedCopyParams& copy, TransposeParams* p) {
  const int last = copy.rank - 1;
  int across = -1;
  for (int i = 0; i < last; ++i) {
    if (copy.src_strides[i] == 1) across = i;
  }
  constexpr int64_t kLeast = kTransposeTile / 2;
  if (across < 0 || copy.dst_strides[last] != 1 || copy.src_strides[last] == 0 ||
      copy.sizes[across] < kLeast || copy.sizes[last] < kLeast) {
    return false;
  }
  *p = {};
  p->across = copy.sizes[across];
  p->along = copy.sizes[last];
  p->src_stride = copy.src_strides[last];
  p->dst_stride = copy.dst_strides[across];
  p->across_tiles = (p->across + kTransposeTile - 1) / kTransposeTile;
  p->along_tiles = (p->along + kTransposeTile - 1) / kTransposeTile;
  p->tiles = p->across_tiles * p->along_tiles;
  for (int i = 0; i < last; ++i) {
    if (i == across) continue;
    p->tiles *= copy.sizes[i];
    p->sizes[p->rank] = copy.sizes[i];
    p->src_strides[p->rank] = copy.src_strides[i];
    p->dst_strides[p->rank++] = copy.dst_strides[i];
  }
  return true;
}

}  // namespace ostria::kernels
