// SPDX-License-Identifier: Apache-2.0
// What both passes share. A block has rows of its own in shared memory, four for each warp, and
// goes through tiles of 32 other rows; a lane scores one of them against its warp's four, and for
// the sums over the tile a lane owns every 32nd column. Everything is added in one order.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/common/block_reduce.h"
#include "kernels/common/dtype.h"
#include "kernels/random/draw.h"
#include "kernels/scalar/math.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

inline constexpr int kTile = kAttentionTile, kRows = kAttentionRows;

/// dst[row * pitch + c] = src[row * stride + c] * factor for `count` rows; zeros up to `rows`.
template <class T>
OSTRIA_DEVICE void StageRows(const T* src, int64_t stride, int count, int rows, int dim, int pitch,
                             float factor, float* dst) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  for (int row = warp; row < rows; row += kAttentionWarps) {
    for (int c = lane; c < dim; c += 32) {
      dst[row * pitch + c] = row < count ? Load(src + row * stride + c) * factor : 0.0f;
    }
  }
}

/// dots[r] = own row r times the lane's row of the tile.
OSTRIA_DEVICE void Dots(const float* own, const float* other, int dim, float (&dots)[kRows]) {
  for (int r = 0; r < kRows; ++r) dots[r] = 0;
  for (int c = 0; c < dim; ++c) {
    const float x = other[c];
    for (int r = 0; r < kRows; ++r) dots[r] = Fma(own[r * dim + c], x, dots[r]);
  }
}

/// sums[r][i] += over the tile: weights[j * kRows + r] * tile[j * pitch + i * 32 + lane].
template <int kColumns>
OSTRIA_DEVICE void AddRows(const float* weights, const float* tile, int pitch, int dim,
                           float (&sums)[kRows][kColumns]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  OSTRIA_NO_UNROLL
  for (int j = 0; j < kTile; ++j) {
    for (int i = 0; i < kColumns; ++i) {
      const int c = i * 32 + lane;
      const float x = c < dim ? tile[j * pitch + c] : 0.0f;
      for (int r = 0; r < kRows; ++r) sums[r][i] = Fma(weights[j * kRows + r], x, sums[r][i]);
    }
  }
}

/// exp(x) for x <= 0, and 0 where that is near the denormal numbers.
OSTRIA_DEVICE float ExpOf(float x) { return x < -87.0f ? 0.0f : Exp(x); }

OSTRIA_DEVICE int KeysOf(const AttentionParams& p, int64_t batch) {
  if (p.lengths == nullptr) return p.length_kv;
  const int64_t n = p.wide_lengths != 0 ? static_cast<const int64_t*>(p.lengths)[batch]
                                        : static_cast<const int32_t*>(p.lengths)[batch];
  return static_cast<int>(min(max(n, int64_t{0}), int64_t{p.length_kv}));
}

/// The score of query `row` and key `key`, of which `keys` are not masked by lengths.
template <class T>
OSTRIA_DEVICE float Masked(const AttentionParams& p, int64_t batch, int head, int row, int key,
                           int keys, float score) {
  const float hidden = -Infinity<float>();
  if (row >= p.length_q || key >= keys || (p.causal != 0 && key > row)) return hidden;
  if (p.mask == nullptr) return score;
  const int64_t at = batch * p.mask_batch + head * p.mask_head + row * p.mask_row + key;
  if (p.added != 0) return score + Load(static_cast<const T*>(p.mask) + at);
  return static_cast<const uint8_t*>(p.mask)[at] != 0 ? score : hidden;
}

/// The factor of the weight of query `row` and key `key`: 0 where it is dropped.
OSTRIA_DEVICE float DropFactor(const AttentionParams& p, int64_t batch, int head, int row,
                               int key) {
  const auto sequence = static_cast<uint64_t>(*p.first_row + batch);
  const uint64_t line = (sequence * static_cast<uint64_t>(p.heads) + static_cast<uint64_t>(head)) *
                            static_cast<uint64_t>(p.length_q) +
                        static_cast<uint64_t>(row);
  const uint64_t element = line * static_cast<uint64_t>(p.length_kv) + static_cast<uint64_t>(key);
  uint32_t words[4];
  DrawBlock(p.key, p.stream, element / 4, words);
  const uint32_t low = element % 2 == 0 ? words[0] : words[1];
  const uint32_t high = element % 2 == 0 ? words[2] : words[3];
  return (element % 4 < 2 ? low : high) < p.limit ? p.keep : 0.0f;
}

/// Row `row` of head `head`, of [batch, length, heads, dim].
OSTRIA_DEVICE int64_t RowOf(int64_t batch, int length, int row, int heads, int head, int dim) {
  return (((batch * length + row) * heads) + head) * dim;
}

template <class T, int kColumns>
OSTRIA_DEVICE void StoreRow(T* dst, int dim, const float (&x)[kColumns], float factor) {
  for (int i = 0; i < kColumns; ++i) {
    const int c = i * 32 + static_cast<int>(threadIdx.x % 32);
    if (c < dim) Store(dst + c, x[i] * factor);
  }
}

}  // namespace ostria::kernels

#endif
