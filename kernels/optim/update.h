// SPDX-License-Identifier: Apache-2.0
// One step of an elementwise optimizer over segments of weights with their gradients and slots, in
// place. What changes from step to step is read from device memory. A kernel is named after its op
// and type: adam_update_f32; that of gradients by rows adam_update_rows_f32.
#pragma once

#include "kernels/common/lane_groups.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

inline constexpr int kUpdateSlots = 3;
inline constexpr int kUpdateAttrs = 6;
inline constexpr int kUpdateThreads = 256;
/// Elements of a segment that a block takes at a time.
inline constexpr int64_t kUpdateTile = 1024;

/// The scalars of one step, as the op's operands.
struct UpdateScalars {
  const float* lr = nullptr;
  const void* step = nullptr;  // null where the rule takes none
  const float* grad_scale = nullptr;
  const bool* commit = nullptr;  // false: nothing changes
  double attrs[kUpdateAttrs] = {};
  double weight_decay = 0;
  int32_t float_step = 0;  // whether `step` is float rather than int64
  int32_t unused = 0;
};
OSTRIA_LAYOUT(UpdateScalars, 96, lr, step, grad_scale, commit, attrs, weight_decay, float_step,
              unused);

struct UpdateSegment {
  void* w = nullptr;
  const void* g = nullptr;
  void* slots[kUpdateSlots] = {};
  int64_t n = 0;
  int64_t first_tile = 0;  // tiles of the segments before
};
OSTRIA_LAYOUT(UpdateSegment, 56, w, g, slots, n, first_tile);
struct UpdateParams {
  static constexpr int kMaxSegments = 64;
  UpdateScalars scalars;
  int32_t count = 0, unused = 0;
  int64_t tiles = 0;
  UpdateSegment segments[kMaxSegments];
};
OSTRIA_LAYOUT(UpdateParams, 64 * 56 + 112, scalars, count, unused, tiles, segments);

/// Row r of the gradient, `cols` elements, belongs to row ids[r] of the table; r itself without
/// ids. Each row comes at most once.
struct UpdateRowsSegment {
  void* w = nullptr;
  const void* g = nullptr;
  void* slots[kUpdateSlots] = {};
  int64_t rows = 0, cols = 0;      // rows: at most, where `named` says how many
  const int32_t* named = nullptr;  // how many rows there are, then their ids
  int64_t first_group = 0;         // groups of rows of the segments before
};
OSTRIA_LAYOUT(UpdateRowsSegment, 72, w, g, slots, rows, cols, named, first_group);
struct UpdateRowsParams {
  static constexpr int kMaxSegments = 48;
  UpdateScalars scalars;
  int32_t count = 0;
  int32_t lazy = 0;  // whether a row whose gradient is all 0 stays
  int64_t groups = 0;
  UpdateRowsSegment segments[kMaxSegments];
};
OSTRIA_LAYOUT(UpdateRowsParams, 48 * 72 + 112, scalars, count, lazy, groups, segments);

/// Rows that a block takes at a time.
constexpr int64_t RowsOfGroup(int64_t cols) { return kUpdateThreads / LanesOfRow(cols); }

/// ema_update_f32, ema_update_f64: segments hold averages as w and weights as g. With `overwrite`
/// (every so many steps; 0: never) the weights become the averages.
struct EmaParams {
  static constexpr int kMaxSegments = 64;
  const int64_t* step = nullptr;
  const bool* commit = nullptr;
  double momentum = 0;
  int64_t overwrite = 0;
  int32_t count = 0, unused = 0;
  int64_t tiles = 0;
  UpdateSegment segments[kMaxSegments];
};
OSTRIA_LAYOUT(EmaParams, 64 * 56 + 48, step, commit, momentum, overwrite, count, unused, tiles,
              segments);

}  // namespace ostria::kernels
