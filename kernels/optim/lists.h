// SPDX-License-Identifier: Apache-2.0
// Questions about lists of tensors: whether all elements are finite (kernels finite_parts_<type>,
// then finite_fold), and their Euclidean norm (norm_parts_<type>, then norm_fold_f64). Each tile
// of a tensor has a part of its own, so that sums are taken in one order.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

inline constexpr int kListThreads = 256;
/// Elements that make one part.
inline constexpr int64_t kListTile = 16384;

struct ListSegment {
  const void* x = nullptr;
  int64_t n = 0;
  int64_t first_tile = 0;  // tiles of the segments before
};
OSTRIA_LAYOUT(ListSegment, 24, x, n, first_tile);
/// Tensors of one type; `parts` has one element per tile: int32 for finite, double for norm.
struct ListParams {
  static constexpr int kMaxSegments = 160;
  void* parts = nullptr;
  int64_t tiles = 0;
  int32_t count = 0, unused = 0;
  ListSegment segments[kMaxSegments];
};
OSTRIA_LAYOUT(ListParams, 160 * 24 + 24, parts, tiles, count, unused, segments);

/// One block. `out`: bool for finite, float for norm.
struct ListFoldParams {
  const void* parts = nullptr;
  int64_t count = 0;
  void* out = nullptr;
};
OSTRIA_LAYOUT(ListFoldParams, 24, parts, count, out);

}  // namespace ostria::kernels
