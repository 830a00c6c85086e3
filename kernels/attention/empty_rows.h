// SPDX-License-Identifier: Apache-2.0
// The results of attention for sequences without any key: zeros.
#pragma once

#include "kernels/common/kernel.h"

namespace ostria::kernels {

struct EmptyRowsParams {
  const int32_t* lengths = nullptr;  // one per sequence
  uint16_t* y = nullptr;             // of 2-byte elements, or halves of larger ones
  float* lse = nullptr;
  int64_t batch = 0;
  int64_t y_each = 0, lse_each = 0;  // of one sequence
};
static_assert(sizeof(EmptyRowsParams) == 48);

}  // namespace ostria::kernels
