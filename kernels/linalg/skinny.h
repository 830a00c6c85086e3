// SPDX-License-Identifier: Apache-2.0
// y[t, j] = activation(sum over k of x[t, k] w[j, k] + bias) for at most eight t: few rows, or by
// transposes few columns. Each element of w is read once.
#pragma once

#include "kernels/common/layout.h"
#include "kernels/linalg/bias_activation.h"

namespace ostria::kernels {

inline constexpr int kSkinnyMost = 8;     // t
inline constexpr int kSkinnyBlock = 256;  // threads
inline constexpr int kSkinnyLanes = 8;    // of skinny_cols: vectors of a strip of columns
inline constexpr int kSkinnySlices = 32;  // of skinny_cols: rows k that a block reads at a time

struct SkinnyParams {
  const void *x = nullptr, *w = nullptr, *bias = nullptr;  // bias nullptr: none
  void* y = nullptr;
  int64_t j = 0, k = 0;
  int64_t w_stride = 0;  // from one j (skinny_rows) or k (skinny_cols) to the next; the other is 1
  int64_t x_t = 0, x_k = 0, y_t = 0, y_j = 0;
  int32_t t = 0;
  int32_t activation = kActNone;
  int32_t bias_by_t = 0;      // the bias belongs to t, not to j
  int32_t wide = 0;           // y is float32 whatever x and w are
  int32_t warps_per_row = 1;  // of skinny_rows: 1 or all of the block
  int32_t unused = 0;
};
OSTRIA_LAYOUT(SkinnyParams, 112, x, w, bias, y, j, k, w_stride, x_t, x_k, y_t, y_j, t, activation,
              bias_by_t, wide, warps_per_row, unused);

}  // namespace ostria::kernels
