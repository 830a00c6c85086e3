// SPDX-License-Identifier: Apache-2.0
// Depthwise convolutions move few numbers for few products, so threads take vectors of channels,
// and the weights of a block's channels wait in shared memory, position by position.
#pragma once

#include "kernels/common/vec.h"
#include "kernels/conv/conv.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

/// weights[position][channel], of channels [first, first + count) of the result.
template <class T>
OSTRIA_DEVICE void StageWeights(const DepthwiseParams& p, int64_t first, int count,
                                float* weights) {
  const WindowShape& w = p.window;
  const int positions = w.size[0] * w.size[1] * w.size[2];
  const int64_t channels = w.channels * p.multiplier;
  const T* const kernel = static_cast<const T*>(p.kernel) + first * positions;
  OSTRIA_NO_UNROLL
  for (int i = static_cast<int>(threadIdx.x); i < positions * count; i += kDepthwiseThreads) {
    const int channel = i / positions, position = i % positions;
    weights[position * count + channel] = first + channel < channels ? Load(kernel + i) : 0.0f;
  }
  __syncthreads();
}

/// Whether threads may take vectors, all of these (null: there is none) being aligned.
template <class T>
OSTRIA_DEVICE bool TakesVectors(const DepthwiseParams& p, const void* a, const void* b,
                                const void* c = nullptr) {
  return p.multiplier == 1 && p.window.channels % kVector<T> == 0 && p.tile % kVector<T> == 0 &&
         SkewOf(a) == 0 && SkewOf(b) == 0 && SkewOf(c) == 0;
}

/// Calls fn(place, first channel) for what this thread makes of [batch, sizes..., channels], of the
/// block's tile of channels.
template <int kCount, class Fn>
OSTRIA_DEVICE void ForTile(const DepthwiseParams& p, const int32_t (&sizes)[3], int64_t channels,
                           Fn fn) {
  const int64_t lanes = p.tile / kCount, threads = int64_t{gridDim.x} * blockDim.x;
  const int64_t count = p.window.batch * sizes[0] * sizes[1] * sizes[2] * lanes;
  for (int64_t e = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; e < count; e += threads) {
    const WindowPlace at = PlaceOf(e, sizes, lanes);
    const int64_t channel = int64_t{blockIdx.y} * p.tile + at.group * kCount;
    if (channel < channels) fn(at, channel);
  }
}

}  // namespace ostria::kernels

#endif
