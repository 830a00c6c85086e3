// SPDX-License-Identifier: Apache-2.0
// Statistics of a normalisation between what our ops hand on and what a library's hand over: one
// is in the dtype of the parameters and may be a variance, the other is float32 and has
// 1 / sqrt(variance + epsilon). Kernels norm_widen_<type> and norm_narrow_<type>.
#pragma once

#include <cstdint>

#include "kernels/common/layout.h"

namespace ostria::kernels {

enum class StatisticsRule : int32_t { kAsItIs, kVarianceToRstd, kRstdToVariance };

struct StatisticsParams {
  const void* from = nullptr;  // widen: of the type; narrow: float
  void* to = nullptr;          // the other one
  int64_t count = 0;
  float epsilon = 0;
  StatisticsRule rule = StatisticsRule::kAsItIs;
};
OSTRIA_LAYOUT(StatisticsParams, 32, from, to, count, epsilon, rule);

}  // namespace ostria::kernels
