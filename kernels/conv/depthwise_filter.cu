// SPDX-License-Identifier: Apache-2.0
// The gradient of a depthwise kernel. Block (slice, tile of channels, position) sums over the
// pixels of its slice, the rows of threads sharing them; a second kernel adds the slices in order.
#include "kernels/conv/depthwise_impl.h"

namespace ostria::kernels {
namespace {

template <class T, int kCount>
OSTRIA_DEVICE void SumSlice(const DepthwiseParams& p, float* sums) {
  const WindowShape& w = p.window;
  const int64_t channels = w.channels * p.multiplier;
  const int thread = static_cast<int>(threadIdx.x);
  const int lanes = p.tile / kCount, rows = kDepthwiseThreads / lanes;
  const int lane = thread % lanes, row = thread / lanes;
  const int64_t channel = int64_t{blockIdx.y} * p.tile + lane * kCount;
  const int tap = static_cast<int>(blockIdx.z), j = tap % w.size[2];
  const int i = tap / w.size[2] % w.size[1], t = tap / w.size[2] / w.size[1];
  const int64_t pixels = w.batch * w.out[0] * w.out[1] * w.out[2];
  const int64_t each = (pixels + p.slices - 1) / p.slices, begin = blockIdx.x * each;
  const int64_t end = min(pixels, begin + each);
  float sum[kCount] = {};
  OSTRIA_NO_UNROLL
  for (int64_t k = begin + row; k < end && row < rows && channel < channels; k += rows) {
    const WindowPlace o = PlaceOf(k, w.out, 1);
    const int d = o.at[0] * w.stride[0] - w.low[0] + t * w.dilation[0];
    const int h = o.at[1] * w.stride[1] - w.low[1] + i * w.dilation[1];
    const int x = o.at[2] * w.stride[2] - w.low[2] + j * w.dilation[2];
    if (d < 0 || d >= w.in[0] || h < 0 || h >= w.in[1] || x < 0 || x >= w.in[2]) continue;
    const int64_t pixel = PixelOf(o.image, d, h, x, w.in) * w.channels + channel / p.multiplier;
    float a[kCount], g[kCount];
    LoadVector(static_cast<const T*>(p.src) + pixel, a);
    LoadVector(static_cast<const T*>(p.grad) + k * channels + channel, g);
    for (int c = 0; c < kCount; ++c) sum[c] += a[c] * g[c];
  }
  for (int c = 0; c < kCount; ++c) sums[thread * kCount + c] = sum[c];
  __syncthreads();
  const int64_t own = int64_t{blockIdx.y} * p.tile + thread;
  if (thread >= p.tile || own >= channels) return;
  float total = 0;
  OSTRIA_NO_UNROLL
  for (int r = 0; r < rows; ++r) total += sums[r * p.tile + thread];
  p.partials[(blockIdx.x * channels + own) * gridDim.z + tap] = total;
}

template <class T>
OSTRIA_DEVICE void SumSlices(const DepthwiseParams& p) {
  OSTRIA_SHARED(float, sums, kDepthwiseThreads* kVector<T>);
  if (TakesVectors<T>(p, p.src, p.grad)) {
    SumSlice<T, kVector<T>>(p, sums);
  } else {
    SumSlice<T, 1>(p, sums);
  }
}

template <class T>
OSTRIA_DEVICE void AddSlices(const DepthwiseParams& p) {
  const WindowShape& w = p.window;
  const int64_t count = w.channels * p.multiplier * w.size[0] * w.size[1] * w.size[2];
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += threads) {
    float sum = 0;
    OSTRIA_NO_UNROLL
    for (int s = 0; s < p.slices; ++s) sum += p.partials[s * count + i];
    Store(static_cast<T*>(p.dst) + i, sum);
  }
}

}  // namespace

#define OSTRIA_DEPTHWISE(suffix, T)                                                 \
  OSTRIA_KERNEL(depthwise_sum_slices##suffix, DepthwiseParams, kDepthwiseThreads) { \
    SumSlices<T>(p);                                                                \
  }                                                                                 \
  OSTRIA_KERNEL(depthwise_add_slices##suffix, DepthwiseParams, kDepthwiseThreads) { \
    AddSlices<T>(p);                                                                \
  }
OSTRIA_DEPTHWISE(_f32, float)
OSTRIA_DEPTHWISE(_f16, Float16)
OSTRIA_DEPTHWISE(_bf16, BFloat16)
#undef OSTRIA_DEPTHWISE

}  // namespace ostria::kernels
