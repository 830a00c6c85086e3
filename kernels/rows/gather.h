// SPDX-License-Identifier: Apache-2.0
// Copies rows of a tensor [outer, size, row] to their places in the result: all of them in order,
// or those that indices pick. Kernels gather_1, gather_2, gather_4 and gather_8 are named after the
// bytes that everything is a multiple of.
#pragma once

#include "kernels/common/lane_groups.h"
#include "kernels/common/layout.h"
#include "kernels/rows/index.h"

namespace ostria::kernels {

/// Row i comes from outer index i / count and goes to i / block * stride + i % block *
/// row_step.
struct GatherParams {
  const void* x = nullptr;
  const void* indices = nullptr;  // `count` of them; null: row i % count
  void* y = nullptr;
  DataErrorWord* data_error = nullptr;
  int64_t rows = 0, count = 1, block = 1;
  int64_t row = 0, stride = 0, row_step = 0;  // bytes
  IndexLaw law;
  int32_t step = 0;   // of the program, where data are bad
  int32_t lanes = 1;  // that copy one row: a power of two, at most a warp
};
OSTRIA_LAYOUT(GatherParams, 104, x, indices, y, data_error, rows, count, block, row, stride,
              row_step, law, step, lanes);

inline constexpr int kGatherThreads = 256;

}  // namespace ostria::kernels
