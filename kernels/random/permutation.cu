// SPDX-License-Identifier: Apache-2.0
// The permutation of Fisher and Yates, exchange by exchange as the CPU makes it, many at a time:
// an exchange claims its two places, and is made when no earlier one claims either ("Sequential
// random permutation, list contraction and tree contraction are highly parallel", Shun et al.,
// 2015). One block, for the rounds must agree on who is done.
#include "kernels/random/draw.h"
#include "kernels/random/random.h"

namespace ostria::kernels {

OSTRIA_KERNEL(random_permutation, PermutationParams, kPermutationThreads) {
  constexpr int32_t kNobody = INT32_MAX;
  OSTRIA_SHARED(int, waiting, 1);
  const auto thread = static_cast<int32_t>(threadIdx.x), threads = static_cast<int32_t>(blockDim.x);
  for (int64_t i = thread; i < p.n; i += threads) {
    p.dst[i] = i;
    p.owners[i] = kNobody;
  }
  __syncthreads();
  for (int64_t begin = 0; begin < p.n; begin += threads) {
    const int64_t i = begin + thread, last = p.n - 1 - i;
    bool left = last >= 0;
    int64_t other = 0;
    if (left) {
      uint32_t words[4];
      DrawBlock(p.key, p.stream, static_cast<uint64_t>(i / 2), words);
      const uint64_t bits = WideWord(words, static_cast<int>(i % 2));
      const auto wide = static_cast<unsigned __int128>(bits) * static_cast<uint64_t>(last + 1);
      other = static_cast<int64_t>(wide >> 64);
    }
    for (bool more = true; more;) {
      if (thread == 0) waiting[0] = 0;
      if (left) {
        atomicMin(&p.owners[last], thread);
        atomicMin(&p.owners[other], thread);
      }
      __syncthreads();
      const bool mine = left && p.owners[last] == thread && p.owners[other] == thread;
      if (left && !mine) atomicOr(&waiting[0], 1);
      __syncthreads();
      if (mine) {
        const int64_t x = p.dst[last];
        p.dst[last] = p.dst[other];
        p.dst[other] = x;
      }
      if (left) p.owners[last] = p.owners[other] = kNobody;
      left = left && !mine;
      more = waiting[0] != 0;
      __syncthreads();
    }
  }
}

}  // namespace ostria::kernels
