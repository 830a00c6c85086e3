// SPDX-License-Identifier: Apache-2.0
// The draws of attention's dropout as a mask in memory: the same words of the same counters that
// DropFactor (attention_impl.h) reads, so that forward, backward and the CPU drop the same weights.
#include "kernels/attention/attention.h"
#include "kernels/common/chunk.h"
#include "kernels/random/draw.h"

namespace ostria::kernels {

OSTRIA_KERNEL(attention_dropout_mask, AttentionMaskParams, kMaskThreads) {
  using Group = Chunk<uint16_t, kMaskGroup>;
  const uint64_t first = static_cast<uint64_t>(*p.first_row) * static_cast<uint64_t>(p.sequence);
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.groups; i += threads) {
    const uint64_t block = first / 4 + static_cast<uint64_t>(i) * (kMaskGroup / 4);
    Group group;
    OSTRIA_UNROLL
    for (int half = 0; half < kMaskGroup / 4; ++half) {
      uint32_t words[4];
      DrawBlock(p.key, p.stream, block + static_cast<uint64_t>(half), words);
      OSTRIA_UNROLL
      for (int j = 0; j < 4; ++j) {
        group.x[half * 4 + j] = static_cast<uint16_t>(words[j] < p.limit ? p.one : 0);
      }
    }
    reinterpret_cast<Group*>(p.mask)[i] = group;
  }
}

}  // namespace ostria::kernels
