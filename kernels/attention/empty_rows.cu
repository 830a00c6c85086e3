// SPDX-License-Identifier: Apache-2.0
// Blocks stride over sequences; nearly all have keys and are passed over.
#include "kernels/attention/empty_rows.h"

namespace ostria::kernels {

OSTRIA_KERNEL(attention_empty_rows, EmptyRowsParams, 256) {
  for (int64_t b = blockIdx.x; b < p.batch; b += gridDim.x) {
    if (p.lengths[b] > 0) continue;
    for (int64_t i = threadIdx.x; i < p.y_each; i += blockDim.x) p.y[b * p.y_each + i] = 0;
    for (int64_t i = threadIdx.x; i < p.lse_each; i += blockDim.x) p.lse[b * p.lse_each + i] = 0;
  }
}

}  // namespace ostria::kernels
