// SPDX-License-Identifier: Apache-2.0
#include "kernels/data/runs.h"

#include "kernels/data/runs_impl.h"

namespace ostria::kernels {

#define OSTRIA_LAST_OF_RUNS(name, rule, suffix, T)         \
  OSTRIA_KERNEL(runs_##name##_##suffix, RunsParams, 256) { \
    if (p.wide == 0) {                                     \
      CopyLast<T, uint32_t>(p);                            \
    } else {                                               \
      CopyLast<T, uint64_t>(p);                            \
    }                                                      \
  }

OSTRIA_FOR_SIZES(OSTRIA_LAST_OF_RUNS, update, )
OSTRIA_FOR_HALVES(OSTRIA_RUNS, sum, SumRule)
OSTRIA_FOR_WIDE_FLOATS(OSTRIA_RUNS, sum, SumRule)
OSTRIA_FOR_UNSIGNED(OSTRIA_RUNS, sum, SumRule)
OSTRIA_FOR_HALVES(OSTRIA_RUNS, mean, MeanRule)
OSTRIA_FOR_WIDE_FLOATS(OSTRIA_RUNS, mean, MeanRule)

}  // namespace ostria::kernels
