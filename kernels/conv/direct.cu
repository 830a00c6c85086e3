// SPDX-License-Identifier: Apache-2.0
// Convolutions as they are defined: a thread per element of the result or of the image's gradient,
// and for the kernel's gradient a block per 32 input channels, whose rows share the pixels. Slow
// beside a library; for what no library takes, and to compare libraries with.
#include "kernels/common/dtype.h"
#include "kernels/conv/conv.h"

namespace ostria::kernels {
namespace {

// Where position `tap` of window `at` lies; false: outside of the image.
OSTRIA_DEVICE bool Seen(const WindowShape& w, int at, int tap, int axis, int* place) {
  *place = at * w.stride[axis] - w.low[axis] + tap * w.dilation[axis];
  return *place >= 0 && *place < w.in[axis];
}
// The window whose position `tap` lies at `at` of the image; false: there is none.
OSTRIA_DEVICE bool Seeing(const WindowShape& w, int at, int tap, int axis, int* place) {
  const int reach = at + w.low[axis] - tap * w.dilation[axis];
  *place = reach / w.stride[axis];
  return reach >= 0 && *place * w.stride[axis] == reach && *place < w.out[axis];
}

template <class T>
OSTRIA_DEVICE void Forward(const DirectParams& p) {
  using C = Compute<T>;
  const WindowShape& w = p.window;
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  const int64_t count = w.batch * w.out[0] * w.out[1] * w.out[2] * p.out_channels;
  const auto each = static_cast<uint32_t>(w.channels / p.groups);
  const auto outs = static_cast<uint32_t>(p.out_channels / p.groups);
  for (int64_t e = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; e < count; e += threads) {
    const WindowPlace o = PlaceOf(e, w.out, p.out_channels);
    const T* kernel =
        static_cast<const T*>(p.b) + int64_t{o.group} * w.size[0] * w.size[1] * w.size[2] * each;
    const T* const image = static_cast<const T*>(p.a) + int64_t{o.group / outs} * each;
    C sum = 0;
    const auto line = static_cast<int64_t>(w.size[2]) * each;
    OSTRIA_NO_UNROLL
    for (int ti = 0; ti < w.size[0] * w.size[1]; ++ti, kernel += line) {
      int d = 0, h = 0, x = 0;
      const bool seen =
          Seen(w, o.at[0], ti / w.size[1], 0, &d) && Seen(w, o.at[1], ti % w.size[1], 1, &h);
      if (!seen) continue;
      const T* const pixels = image + PixelOf(o.image, d, h, 0, w.in) * w.channels;
      OSTRIA_NO_UNROLL
      for (int j = 0; j < w.size[2]; ++j) {
        if (!Seen(w, o.at[2], j, 2, &x)) continue;
        const T* const pixel = pixels + x * w.channels;
        OSTRIA_NO_UNROLL
        for (uint32_t c = 0; c < each; ++c) sum += Load(pixel + c) * Load(kernel + j * each + c);
      }
    }
    Store(static_cast<T*>(p.dst) + e, sum);
  }
}

template <class T>
OSTRIA_DEVICE void GradInput(const DirectParams& p) {
  using C = Compute<T>;
  const WindowShape& w = p.window;
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  const int64_t count = w.batch * w.in[0] * w.in[1] * w.in[2] * w.channels;
  const auto each = static_cast<uint32_t>(w.channels / p.groups);
  const auto outs = static_cast<uint32_t>(p.out_channels / p.groups);
  const int64_t filter = int64_t{w.size[0]} * w.size[1] * w.size[2] * each;
  for (int64_t e = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; e < count; e += threads) {
    const WindowPlace x = PlaceOf(e, w.in, w.channels);
    const int64_t first = int64_t{x.group / each} * outs;  // of the group's results
    const T* kernel = static_cast<const T*>(p.b) + first * filter + x.group % each;
    const T* const grad = static_cast<const T*>(p.a) + first;
    C sum = 0;
    for (int t = 0; t < w.size[0]; ++t) {
      for (int i = 0; i < w.size[1]; ++i) {
        OSTRIA_NO_UNROLL
        for (int j = 0; j < w.size[2]; ++j, kernel += each) {
          int d = 0, h = 0, o = 0;
          const bool seeing = Seeing(w, x.at[0], t, 0, &d) && Seeing(w, x.at[1], i, 1, &h) &&
                              Seeing(w, x.at[2], j, 2, &o);
          if (!seeing) continue;
          const T* const pixel = grad + PixelOf(x.image, d, h, o, w.out) * p.out_channels;
          OSTRIA_NO_UNROLL
          for (uint32_t c = 0; c < outs; ++c) sum += Load(pixel + c) * Load(kernel + c * filter);
        }
      }
    }
    Store(static_cast<T*>(p.dst) + e, sum);
  }
}

template <class T>
OSTRIA_DEVICE void GradFilter(const DirectParams& p) {
  using C = Compute<T>;
  constexpr int kRows = kDirectThreads / 32;
  OSTRIA_SHARED(C, sums, kDirectThreads);
  const WindowShape& w = p.window;
  const auto lane = threadIdx.x % 32, row = threadIdx.x / 32;
  const auto each = static_cast<uint32_t>(w.channels / p.groups), tiles = (each + 31) / 32;
  const auto outs = static_cast<uint32_t>(p.out_channels / p.groups);
  const auto positions = static_cast<uint32_t>(w.size[0] * w.size[1] * w.size[2]);
  const int64_t pixels = w.batch * w.out[0] * w.out[1] * w.out[2];
  const auto blocks = static_cast<uint32_t>(p.out_channels * positions * tiles);
  for (uint32_t b = blockIdx.x; b < blocks; b += gridDim.x) {
    const uint32_t c = b % tiles * 32 + lane, tap = b / tiles % positions;
    const uint32_t o = b / tiles / positions;
    const int j = static_cast<int>(tap) % w.size[2], rest = static_cast<int>(tap) / w.size[2];
    const int t = rest / w.size[1], i = rest % w.size[1];
    C sum = 0;
    OSTRIA_NO_UNROLL
    for (int64_t k = row; k < pixels && c < each; k += kRows) {
      const WindowPlace at = PlaceOf(k, w.out, 1);
      int d = 0, h = 0, x = 0;
      const bool seen =
          Seen(w, at.at[0], t, 0, &d) && Seen(w, at.at[1], i, 1, &h) && Seen(w, at.at[2], j, 2, &x);
      if (!seen) continue;
      const int64_t pixel =
          PixelOf(at.image, d, h, x, w.in) * w.channels + int64_t{o / outs} * each + c;
      sum += Load(static_cast<const T*>(p.a) + pixel) *
             Load(static_cast<const T*>(p.b) + k * p.out_channels + o);
    }
    __syncthreads();  // those of the block before may still be read
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (row == 0 && c < each) {
      for (int r = 1; r < kRows; ++r) sum += sums[r * 32 + static_cast<int>(lane)];
      Store(static_cast<T*>(p.dst) + (int64_t{o} * positions + tap) * each + c, sum);
    }
  }
}

}  // namespace

#define OSTRIA_DIRECT(suffix, T)                                                              \
  OSTRIA_KERNEL(direct_forward##suffix, DirectParams, kDirectThreads) { Forward<T>(p); }      \
  OSTRIA_KERNEL(direct_grad_input##suffix, DirectParams, kDirectThreads) { GradInput<T>(p); } \
  OSTRIA_KERNEL(direct_grad_filter##suffix, DirectParams, kDirectThreads) { GradFilter<T>(p); }
OSTRIA_DIRECT(_f32, float)
OSTRIA_DIRECT(_f64, double)
OSTRIA_DIRECT(_f16, Float16)
OSTRIA_DIRECT(_bf16, BFloat16)
#undef OSTRIA_DIRECT

}  // namespace ostria::kernels
