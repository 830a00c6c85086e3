// SPDX-License-Identifier: Apache-2.0
#include "kernels/data/runs.h"

#include "kernels/data/runs_impl.h"

namespace ostria::kernels {

OSTRIA_FOR_NUMBERS(OSTRIA_RUNS, max, MaxRule)
OSTRIA_FOR_NUMBERS(OSTRIA_RUNS, min, MinRule)

}  // namespace ostria::kernels
