// SPDX-License-Identifier: Apache-2.0
// Attention of our own: operands are [batch, length, heads, dim], lse is [batch, heads, length_q].
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

/// A warp takes kAttentionRows rows (queries, or keys where they are made) against tiles of 32.
inline constexpr int kAttentionWarps = 4, kAttentionRows = 4, kAttentionTile = 32;
inline constexpr int kAttentionBlock = kAttentionWarps * kAttentionRows;
inline constexpr int kMostHeadDim = 256;

struct AttentionParams {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  const void* mask = nullptr;          // null, bool, or numbers like q's that are added
  const void* lengths = nullptr;       // null, or keys of each sequence
  const int64_t* key = nullptr;        // of dropout; null: none
  const int64_t* first_row = nullptr;  // of dropout: the number of the first sequence
  void* y = nullptr;
  float* lse = nullptr;
  // Backward:
  const void* g = nullptr;
  const float* lse_grad = nullptr;  // null: zeros
  float* delta = nullptr;           // like lse: made with dq, used for dk and dv
  void* dq = nullptr;
  void* dk = nullptr;
  void* dv = nullptr;
  int64_t mask_batch = 0, mask_head = 0, mask_row = 0;  // strides in elements
  uint64_t stream = 0, limit = 0;  // of dropout: mixed; words below the limit are kept
  float scale = 1, keep = 1;       // keep: the factor of what is kept
  int32_t heads = 1, kv_heads = 1, length_q = 0, length_kv = 0, dim = 0, dim_v = 0;
  int32_t causal = 0, added = 0, wide_lengths = 0, unused = 0;  // added: the mask is numbers
};
OSTRIA_LAYOUT(AttentionParams, 208, q, k, v, mask, lengths, key, first_row, y, lse, g, lse_grad,
              delta, dq, dk, dv, mask_batch, mask_head, mask_row, stream, limit, scale, keep, heads,
              kv_heads, length_q, length_kv, dim, dim_v, causal, added, wide_lengths, unused);

/// What cuDNN's attention multiplies weights by: 16 bits for each, 0 where it is dropped, else
/// `one`. A thread draws eight weights, so rows have a multiple of that.
struct AttentionMaskParams {
  const int64_t* key = nullptr;
  const int64_t* first_row = nullptr;
  uint16_t* mask = nullptr;  // [batch, heads, length_q, length_kv], at a boundary of 16 bytes
  int64_t groups = 0;        // of eight weights
  int64_t sequence = 0;      // weights of one: heads * length_q * length_kv
  uint64_t stream = 0, limit = 0;
  uint32_t one = 0, unused = 0;
};
OSTRIA_LAYOUT(AttentionMaskParams, 64, key, first_row, mask, groups, sequence, stream, limit, one,
              unused);
inline constexpr int kMaskGroup = 8, kMaskThreads = 256;

/// Floats between rows of a tile: odd, so that the lanes that read a column meet no bank twice.
constexpr int AttentionPitch(int dim) { return dim | 1; }
/// Floats of shared memory of each kernel.
constexpr int AttentionShared(int dim, int dim_v, bool backward) {
  const int weights = kAttentionWarps * kAttentionTile * kAttentionRows;
  const int tile = kAttentionTile * (AttentionPitch(dim) + AttentionPitch(dim_v));
  if (backward) return kAttentionBlock * (dim + dim_v) + tile + 2 * kAttentionTile + 2 * weights;
  return kAttentionBlock * dim + tile + weights;
}

}  // namespace ostria::kernels
