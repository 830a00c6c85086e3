// SPDX-License-Identifier: Apache-2.0
// Normalisation with channels last: x is [examples, rows, cols], and each example has statistics
// for every group of neighbouring columns. Batch normalisation is one example whose groups are
// single columns. In order: channel_stats, channel_finish, channel_apply; for gradients
// channel_grad_sums, channel_grad_finish, channel_grad_apply; each with _<type>.
#pragma once

#include "kernels/common/lane_groups.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

inline constexpr int kChannelThreads = 256;

/// Blocks take pieces of rows of some columns, so that sums are taken in one order.
struct ChannelNormParams {
  const void* x = nullptr;
  const void* g = nullptr;      // of y
  const void* scale = nullptr;  // [cols]
  const void* bias = nullptr;
  // Of each example and group. The gradient and channel_apply without `stats` read them.
  const void* mean = nullptr;
  const void* spread = nullptr;  // see is_rstd
  void* y = nullptr;             // or the gradient of x, which may be g
  void* out_mean = nullptr;
  void* out_spread = nullptr;
  void* dscale = nullptr;
  void* dbias = nullptr;
  // In the type of the arithmetic: two numbers for each piece and column, then two for each example
  // and group.
  void* partial = nullptr;  // [2, examples, pieces, cols]
  void* stats = nullptr;    // [examples, groups, 2]
  int64_t examples = 1, rows = 0, cols = 0, groups = 0;
  int64_t pieces = 1, piece_rows = 0;
  double epsilon = 0;
  int32_t lanes = 1;    // of a block, which take a row of columns together
  int32_t is_rstd = 0;  // whether spread is 1 / sqrt(var + epsilon) rather than var
  int32_t is_wide = 0;  // whether out_mean and out_spread are of the arithmetic's type, not of x's
  int32_t padding = 0;
};
OSTRIA_LAYOUT(ChannelNormParams, 176, x, g, scale, bias, mean, spread, y, out_mean, out_spread,
              dscale, dbias, partial, stats, examples, rows, cols, groups, pieces, piece_rows,
              epsilon, lanes, is_rstd, is_wide, padding);

}  // namespace ostria::kernels
