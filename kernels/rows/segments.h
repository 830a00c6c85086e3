// SPDX-License-Identifier: Apache-2.0
// Rows by segment: index and position of each are sorted by index (kernels/sort), so that what goes
// to one row lies together, in the order of the positions. Nothing is added by atomics.
#pragma once

#include "kernels/common/lane_groups.h"
#include "kernels/common/layout.h"
#include "kernels/rows/index.h"

namespace ostria::kernels {

inline constexpr int kSegmentThreads = 256;
inline constexpr int kScanThreads = 1024;

/// row_keys: indices as keys, the parts of several tables one after the other.
struct RowKeysPart {
  const void* indices = nullptr;
  int64_t count = 0, dst = 0;  // dst: the first key
  IndexLaw law;
};
OSTRIA_LAYOUT(RowKeysPart, 40, indices, count, dst, law);
struct RowKeysParams {
  static constexpr int kMaxParts = 64;
  uint32_t* keys = nullptr;
  DataErrorWord* data_error = nullptr;
  int32_t step = 0;
  int32_t unused = 0;
  RowKeysPart parts[kMaxParts];  // blockIdx.y chooses
};
OSTRIA_LAYOUT(RowKeysParams, 64 * 40 + 24, keys, data_error, step, unused, parts);

/// row_starts: a block for each table of `n` sorted keys. starts[table, 0] gets the number of
/// different ones, then where each begins, then n.
struct RowStartsParams {
  static constexpr int kMaxTables = 64;
  const uint32_t* keys = nullptr;
  int32_t* starts = nullptr;  // [tables, n + 2]
  int32_t* rows = nullptr;    // at dst[table]: the number, the keys, zeros: 1 + n of them
  int64_t n = 0;
  int64_t dst[kMaxTables] = {};
};
OSTRIA_LAYOUT(RowStartsParams, 64 * 8 + 32, keys, starts, rows, n, dst);

/// row_sums_f32, row_sums_f64: per table the sums of the values of equal keys, then zeros.
struct RowSumsPart {
  const void* values = nullptr;
  int64_t stride = 0, column = 0;  // elements from one row to the next, and before the first
  int64_t begin = 0, end = 0;      // its positions
};
OSTRIA_LAYOUT(RowSumsPart, 40, values, stride, column, begin, end);
struct RowSumsTable {
  void* sums = nullptr;  // [n, cols]
  int64_t cols = 0;
  int32_t number = 0;  // of its keys and starts
  int32_t first_part = 0;
  int32_t parts = 0;
  int32_t lanes = 1;  // that take one row: a power of two, at most a warp
};
OSTRIA_LAYOUT(RowSumsTable, 32, sums, cols, number, first_part, parts, lanes);
struct RowSumsParams {
  static constexpr int kMaxParts = 64, kMaxTables = 24;
  const int32_t* positions = nullptr;  // [tables, n]
  const int32_t* starts = nullptr;
  int64_t n = 0;
  RowSumsPart parts[kMaxParts];
  RowSumsTable tables[kMaxTables];  // blockIdx.y chooses
};
OSTRIA_LAYOUT(RowSumsParams, 64 * 40 + 24 * 32 + 24, positions, starts, n, parts, tables);

}  // namespace ostria::kernels
