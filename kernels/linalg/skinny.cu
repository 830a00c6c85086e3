// SPDX-License-Identifier: Apache-2.0
// skinny_rows reads w along k, by a warp or a block for each j; skinny_cols reads it along j, in
// strips of eight vectors that the block's 32 slices of k share. Sums are in float32 and in an
// order that depends on shapes alone: what is not aligned is read element by element, in the same
// places.
#include "kernels/linalg/skinny.h"

#include "kernels/common/block_reduce.h"
#include "kernels/common/vec.h"
#include "kernels/linalg/activation.h"

namespace ostria::kernels {
namespace {

// A vector of elements from `at` on, of which `count` exist; the others are 0.
template <class T>
OSTRIA_DEVICE void LoadSome(const T* at, int64_t count, float (&x)[kVector<T>]) {
  if (count >= kVector<T> && SkewOf(at) == 0) {
    LoadVector(at, x);
    return;
  }
  for (int i = 0; i < kVector<T>; ++i) x[i] = i < count ? Load(at + i) : 0.0f;
}

template <class T>
OSTRIA_DEVICE void Finish(const SkinnyParams& p, int64_t t, int64_t j, float sum) {
  if (p.bias != nullptr) sum += Load(static_cast<const T*>(p.bias) + (p.bias_by_t != 0 ? t : j));
  sum = Activate(p.activation, sum);
  const int64_t at = t * p.y_t + j * p.y_j;
  if (p.wide != 0) {
    static_cast<float*>(p.y)[at] = sum;
  } else {
    Store(static_cast<T*>(p.y) + at, sum);
  }
}

template <class T>
OSTRIA_DEVICE void Rows(const SkinnyParams& p) {
  constexpr int kWarps = kSkinnyBlock / 32;
  OSTRIA_SHARED(float, parts, kWarps* kSkinnyMost);
  const T* const x = static_cast<const T*>(p.x);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const bool together = p.warps_per_row > 1;
  const int64_t step = int64_t{32} * p.warps_per_row * kVector<T>;
  const int64_t first = (together ? int64_t{threadIdx.x} : lane) * kVector<T>;
  const int64_t each = together ? 1 : kWarps;  // rows of a block
  for (int64_t row = int64_t{blockIdx.x} * each; row < p.j; row += int64_t{gridDim.x} * each) {
    const int64_t j = together ? row : row + warp;
    float sums[kSkinnyMost] = {};
    if (j < p.j) {
      const T* const w = static_cast<const T*>(p.w) + j * p.w_stride;
      for (int64_t k = first; k < p.k; k += step) {
        float a[kVector<T>], b[kVector<T>];
        LoadSome(w + k, p.k - k, a);
        OSTRIA_UNROLL
        for (int t = 0; t < kSkinnyMost; ++t) {
          if (t >= p.t) break;
          if (p.x_k == 1) {
            LoadSome(x + t * p.x_t + k, p.k - k, b);
          } else {
            for (int i = 0; i < kVector<T>; ++i) {
              b[i] = k + i < p.k ? Load(x + t * p.x_t + (k + i) * p.x_k) : 0.0f;
            }
          }
          for (int i = 0; i < kVector<T>; ++i) sums[t] += a[i] * b[i];
        }
      }
    }
    OSTRIA_UNROLL
    for (int t = 0; t < kSkinnyMost; ++t) {
      if (t >= p.t) break;
      sums[t] = WarpSum(sums[t]);
      if (!together && lane == 0 && j < p.j) Finish<T>(p, t, j, sums[t]);
      if (together && lane == 0) parts[warp * kSkinnyMost + t] = sums[t];
    }
    if (!together) continue;
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < p.t) {
      float sum = 0;
      for (int i = 0; i < kWarps; ++i) sum += parts[i * kSkinnyMost + threadIdx.x];
      Finish<T>(p, threadIdx.x, j, sum);
    }
    __syncthreads();
  }
}

template <class T>
OSTRIA_DEVICE void Cols(const SkinnyParams& p) {
  constexpr int kWarps = kSkinnyBlock / 32, kWidth = kSkinnyLanes * kVector<T>;
  OSTRIA_SHARED(float, parts, kWarps* kSkinnyMost* kWidth);
  const T* const x = static_cast<const T*>(p.x);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kSkinnyLanes;
  const int slice = thread / kSkinnyLanes, warp = thread / 32;
  for (int64_t strip = int64_t{blockIdx.x} * kWidth; strip < p.j;
       strip += int64_t{gridDim.x} * kWidth) {
    const int64_t j = strip + lane * kVector<T>;
    float sums[kSkinnyMost][kVector<T>] = {};
    if (j < p.j) {
      for (int64_t k = slice; k < p.k; k += kSkinnySlices) {
        float a[kVector<T>];
        LoadSome(static_cast<const T*>(p.w) + k * p.w_stride + j, p.j - j, a);
        OSTRIA_UNROLL
        for (int t = 0; t < kSkinnyMost; ++t) {
          if (t >= p.t) break;
          const float b = Load(x + t * p.x_t + k * p.x_k);
          for (int i = 0; i < kVector<T>; ++i) sums[t][i] += a[i] * b;
        }
      }
    }
    // The four slices of a warp, then the warps.
    OSTRIA_UNROLL
    for (int t = 0; t < kSkinnyMost; ++t) {
      if (t >= p.t) break;
      for (int i = 0; i < kVector<T>; ++i) {
        float sum = sums[t][i];
        sum += __shfl_xor_sync(~0u, sum, 8);
        sum += __shfl_xor_sync(~0u, sum, 16);
        if (thread % 32 < kSkinnyLanes) {
          parts[(warp * kSkinnyMost + t) * kWidth + lane * kVector<T> + i] = sum;
        }
      }
    }
    __syncthreads();
    for (int at = thread; at < p.t * kWidth; at += kSkinnyBlock) {
      const int t = at / kWidth, column = at % kWidth;
      if (strip + column >= p.j) continue;
      float sum = 0;
      for (int i = 0; i < kWarps; ++i) sum += parts[(i * kSkinnyMost + t) * kWidth + column];
      Finish<T>(p, t, strip + column, sum);
    }
    __syncthreads();
  }
}

}  // namespace

OSTRIA_KERNEL(skinny_rows_float32, SkinnyParams, kSkinnyBlock) { Rows<float>(p); }
OSTRIA_KERNEL(skinny_rows_float16, SkinnyParams, kSkinnyBlock) { Rows<Float16>(p); }
OSTRIA_KERNEL(skinny_rows_bfloat16, SkinnyParams, kSkinnyBlock) { Rows<BFloat16>(p); }
OSTRIA_KERNEL(skinny_cols_float32, SkinnyParams, kSkinnyBlock) { Cols<float>(p); }
OSTRIA_KERNEL(skinny_cols_float16, SkinnyParams, kSkinnyBlock) { Cols<Float16>(p); }
OSTRIA_KERNEL(skinny_cols_bfloat16, SkinnyParams, kSkinnyBlock) { Cols<BFloat16>(p); }

}  // namespace ostria::kernels
