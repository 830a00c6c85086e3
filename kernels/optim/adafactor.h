// SPDX-License-Identifier: Apache-2.0
// One step of Adafactor over variables, in place. A variable is `count` matrices [rows, cols] with
// moments r [count, rows] and c [count, cols], or, with rows 0, a vector whose moment is r. In
// order, each with _update_<type>: adafactor_rows, adafactor_columns, adafactor_means,
// adafactor_squares, adafactor_rate, adafactor_move.
#pragma once

#include "kernels/common/layout.h"
#include "kernels/optim/update.h"

namespace ostria::kernels {

/// Rows of which a block sums columns; and how many columns.
inline constexpr int64_t kAdafactorRows = 256, kAdafactorColumns = 32;

struct AdafactorSegment {
  void* w = nullptr;
  const void* g = nullptr;
  void* r = nullptr;
  void* c = nullptr;
  int64_t count = 1, rows = 0, cols = 0;
  // What the segments before take: rows, blocks of columns, columns and matrices, and tiles.
  int64_t first_row = 0, first_block = 0, first_mean = 0, first_tile = 0;
  int64_t first_sum = 0;  // in `sums`
  int64_t first_matrix = 0;
};
OSTRIA_LAYOUT(AdafactorSegment, 104, w, g, r, c, count, rows, cols, first_row, first_block,
              first_mean, first_tile, first_sum, first_matrix);
struct AdafactorParams {
  static constexpr int kMaxSegments = 36;
  UpdateScalars scalars;    // attrs: beta2_decay, epsilon1, epsilon2, clip_threshold
  double* sums = nullptr;   // of squares by matrix, piece of rows and column
  double* means = nullptr;  // of r, by matrix
  double* parts = nullptr;  // [tiles, 2]: squares of weights and of moves
  double* rates = nullptr;  // of each segment
  int64_t rows = 0, blocks = 0, mean_units = 0, tiles = 0;
  int32_t count = 0, unused = 0;
  AdafactorSegment segments[kMaxSegments];
};
OSTRIA_LAYOUT(AdafactorParams, 36 * 104 + 168, scalars, sums, means, parts, rates, rows, blocks,
              mean_units, tiles, count, unused, segments);

}  // namespace ostria::kernels
