// SPDX-License-Identifier: Apache-2.0
// How a kernel says that its data are bad: the first one to find something fills the word, and goes
// on with a value that is in range. The host reads it when the step is done.
#pragma once

#include <cstdint>

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct DataErrorWord {
  int32_t taken = 0;  // 1 while somebody's report stands here
  int32_t step = -1;  // which step it is from
  int64_t value = 0, low = 0, high = 0;
};
OSTRIA_LAYOUT(DataErrorWord, 32, taken, step, value, low, high);

#if defined(OSTRIA_KERNEL_CODE)
/// Reports `value`, which is not in [low, high).
inline __device__ void ReportDataError(DataErrorWord* word, int32_t step, int64_t value,
                                       int64_t low, int64_t high) {
  if (word == nullptr || atomicCAS(&word->taken, 0, 1) != 0) return;
  word->value = value;
  word->low = low;
  word->high = high;
  __threadfence_system();
  word->step = step;
}
#endif

}  // namespace ostria::kernels
