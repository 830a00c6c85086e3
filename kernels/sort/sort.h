// SPDX-License-Identifier: Apache-2.0
// Sorting by keys: unsigned integers in the order of the elements, in which NaN is last and -0 is
// 0. Everything is stable, so there is one result. Keys of up to 32 bits are kept in 32, others in
// 64. A tensor is seen as [outer, axis, inner]: row r is (r / inner, :, r % inner).
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

/// How elements become keys.
struct KeyLaw {
  enum : int32_t { kUnsigned, kSigned, kFloat };
  int32_t bytes = 4, kind = kUnsigned;
  uint64_t infinity = 0;  // bits of the floating-point infinity; what is above them is NaN
  uint64_t flip = 0;      // all ones (of `bytes`) for the opposite order
};
OSTRIA_LAYOUT(KeyLaw, 24, bytes, kind, infinity, flip);

/// Rows that a warp (or, of their elements, a thread) sorts by counting.
inline constexpr int kShortRow = 64;
/// Threads and items of the block sorts.
inline constexpr int kSmallThreads = 128, kSmallItems = 4;
inline constexpr int kTileThreads = 256, kTileItems32 = 16, kTileItems64 = 8;

/// Rows, each sorted by one block or warp; also the first places of each tile of longer rows.
struct SortRowsParams {
  const void* x = nullptr;             // where the elements are
  const void* keys = nullptr;          // [rows, n], in place of x's
  const int32_t* positions = nullptr;  // of the keys; null: 0, 1, ...
  void* values = nullptr;              // null where not asked for
  int64_t* indices = nullptr;
  void* dst_keys = nullptr;  // [rows, tiles * take]
  int32_t* dst_positions = nullptr;
  int64_t rows = 0, n = 0, inner = 1;
  int64_t axis = 0;  // of x; n unless keys are given
  int64_t tiles = 1, take = 0;
  KeyLaw law;
  int32_t bits = 32;  // that matter; those above them are equal in all keys
  int32_t unused = 0;
};
OSTRIA_LAYOUT(SortRowsParams, 136, x, keys, positions, values, indices, dst_keys, dst_positions,
              rows, n, inner, axis, tiles, take, law, bits, unused);

/// One pass of a radix sort over `kDigits` values of a digit, of rows that are cut into tiles.
inline constexpr int kDigits = 256;
struct RadixParams {
  const void* keys = nullptr;  // [rows, n]
  const int32_t* positions = nullptr;
  void* dst_keys = nullptr;
  int32_t* dst_positions = nullptr;
  int32_t* counts = nullptr;  // [rows, kDigits, tiles], then sums of the tiles before
  int32_t* totals = nullptr;  // [rows, kDigits]
  int64_t rows = 0, n = 0, tiles = 0;
  int32_t begin = 0, end = 8;  // bits
};
OSTRIA_LAYOUT(RadixParams, 80, keys, positions, dst_keys, dst_positions, counts, totals, rows, n,
              tiles, begin, end);

/// Keys of a tensor, [rows, n]; and what stands at sorted positions.
struct SortMoveParams {
  const void* x = nullptr;
  const int32_t* positions = nullptr;  // [rows, n]
  void* keys = nullptr;
  void* values = nullptr;  // null where not asked for
  int64_t* indices = nullptr;
  int64_t rows = 0, n = 0, inner = 1, take = 0;
  KeyLaw law;
};
OSTRIA_LAYOUT(SortMoveParams, 96, x, positions, keys, values, indices, rows, n, inner, take, law);

struct SearchParams {
  const void* x = nullptr;  // n sorted elements
  const void* values = nullptr;
  int64_t* dst = nullptr;
  int64_t n = 0, count = 0;
  KeyLaw law;
  int64_t right = 0;  // 1: behind what is equal
};
OSTRIA_LAYOUT(SearchParams, 72, x, values, dst, n, count, law, right);

}  // namespace ostria::kernels
