// SPDX-License-Identifier: Apache-2.0
// Threads stride over the grid, one number at a time: there are as many as channels or rows. A
// variance that comes back from 1 / sqrt(variance + epsilon) has lost what epsilon rounds away:
// parts of 10^7 of their sum.
#include "kernels/norm/statistics.h"

#include "kernels/common/dtype.h"
#include "kernels/scalar/primitives.h"

namespace ostria::kernels {
namespace {

OSTRIA_DEVICE float Ruled(const StatisticsParams& p, float x) {
  switch (p.rule) {
    case StatisticsRule::kVarianceToRstd: return 1 / Sqrt(x + p.epsilon);
    case StatisticsRule::kRstdToVariance: {
      const float variance = 1 / (x * x) - p.epsilon;
      return variance < 0 ? 0 : variance;  // rounding may leave 0 below it
    }
    default: return x;
  }
}

template <class From, class To>
OSTRIA_DEVICE void Convert(const StatisticsParams& p) {
  const auto* __restrict__ from = static_cast<const From*>(p.from);
  auto* __restrict__ to = static_cast<To*>(p.to);
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.count; i += threads) {
    Store(to + i, Ruled(p, Load(from + i)));
  }
}

}  // namespace

#define OSTRIA_STATISTICS(suffix, T)                                                  \
  OSTRIA_KERNEL(norm_widen_##suffix, StatisticsParams, 256) { Convert<T, float>(p); } \
  OSTRIA_KERNEL(norm_narrow_##suffix, StatisticsParams, 256) { Convert<float, T>(p); }
OSTRIA_STATISTICS(f16, Float16)
OSTRIA_STATISTICS(bf16, BFloat16)
OSTRIA_STATISTICS(f32, float)
#undef OSTRIA_STATISTICS

}  // namespace ostria::kernels
