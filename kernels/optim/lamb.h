// SPDX-License-Identifier: Apache-2.0
// One step of LAMB over variables, in place, in three kernels: lamb_moments_update_<type> moves the
// moments and sums squares by tile, lamb_ratio_update_<type> makes a rate of them for each
// variable, lamb_move_update_<type> moves the weights.
#pragma once

#include "kernels/common/layout.h"
#include "kernels/optim/update.h"

namespace ostria::kernels {

struct LambParams {
  static constexpr int kMaxSegments = 64;
  UpdateScalars scalars;    // attrs: beta1, beta2, epsilon
  double* parts = nullptr;  // [tiles, 2]: squares of weights and of moves
  double* rates = nullptr;  // of each segment
  int32_t count = 0, unused = 0;
  int64_t tiles = 0;
  UpdateSegment segments[kMaxSegments];  // slots: both moments
};
OSTRIA_LAYOUT(LambParams, 64 * 56 + 128, scalars, parts, rates, count, unused, tiles, segments);

}  // namespace ostria::kernels
