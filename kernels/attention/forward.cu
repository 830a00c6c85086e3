// SPDX-License-Identifier: Apache-2.0
// Attention forward with the online softmax of Milakov and Gimelshein (2018): a block per 16
// queries of a head.
#include "kernels/attention/attention_impl.h"

namespace ostria::kernels {
namespace {

template <class T, int kColumns>
OSTRIA_DEVICE void Forward(const AttentionParams& p) {
  OSTRIA_DYNAMIC_SHARED(float, shared);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int pitch = AttentionPitch(p.dim), pitch_v = AttentionPitch(p.dim_v);
  float* const q = shared;
  float* const k = q + kAttentionBlock * p.dim;
  float* const v = k + kTile * pitch;
  float* const weights = v + kTile * pitch_v + warp * kTile * kRows;

  // The last blocks first: where the limit is causal they have the most keys.
  const int blocks = (p.length_q + kAttentionBlock - 1) / kAttentionBlock;
  const int block = blocks - 1 - static_cast<int>(blockIdx.x % static_cast<unsigned>(blocks));
  const int line = static_cast<int>(blockIdx.x / static_cast<unsigned>(blocks));
  const int64_t batch = line / p.heads;
  const int head = line % p.heads, kv_head = head / (p.heads / p.kv_heads);
  const int q0 = block * kAttentionBlock, first = q0 + warp * kRows;
  const int keys = KeysOf(p, batch);
  const int limit = p.causal != 0 ? min(keys, q0 + kAttentionBlock) : keys;
  StageRows(static_cast<const T*>(p.q) + RowOf(batch, p.length_q, q0, p.heads, head, p.dim),
            int64_t{p.heads} * p.dim, p.length_q - q0, kAttentionBlock, p.dim, p.dim, p.scale, q);

  float top[kRows], sum[kRows], out[kRows][kColumns];
  for (int r = 0; r < kRows; ++r) {
    top[r] = -3.0e38f;
    sum[r] = 0;
    for (int i = 0; i < kColumns; ++i) out[r][i] = 0;
  }
  for (int j0 = 0; j0 < limit; j0 += kTile) {
    __syncthreads();  // the tile before has been read
    StageRows(
        static_cast<const T*>(p.k) + RowOf(batch, p.length_kv, j0, p.kv_heads, kv_head, p.dim),
        int64_t{p.kv_heads} * p.dim, p.length_kv - j0, kTile, p.dim, pitch, 1.0f, k);
    StageRows(
        static_cast<const T*>(p.v) + RowOf(batch, p.length_kv, j0, p.kv_heads, kv_head, p.dim_v),
        int64_t{p.kv_heads} * p.dim_v, p.length_kv - j0, kTile, p.dim_v, pitch_v, 1.0f, v);
    __syncthreads();
    float score[kRows];
    Dots(q + warp * kRows * p.dim, k + lane * pitch, p.dim, score);
    for (int r = 0; r < kRows; ++r) {
      const float s = Masked<T>(p, batch, head, first + r, j0 + lane, keys, score[r]);
      const float most = max(top[r], WarpMax(s));
      const float weight = ExpOf(s - most), shrink = ExpOf(top[r] - most);
      sum[r] = Fma(sum[r], shrink, WarpSum(weight));
      top[r] = most;
      for (int i = 0; i < kColumns; ++i) out[r][i] *= shrink;
      weights[lane * kRows + r] = weight;
    }
    if (p.key != nullptr) {
      OSTRIA_NO_UNROLL
      for (int r = 0; r < kRows; ++r) {
        weights[lane * kRows + r] *= DropFactor(p, batch, head, first + r, j0 + lane);
      }
    }
    __syncwarp();
    AddRows(weights, v, pitch_v, p.dim_v, out);
  }
  for (int r = 0; r < kRows; ++r) {
    const int row = first + r;
    if (row >= p.length_q) continue;
    const bool none = sum[r] == 0.0f;
    StoreRow(static_cast<T*>(p.y) + RowOf(batch, p.length_q, row, p.heads, head, p.dim_v), p.dim_v,
             out[r], none ? 0.0f : 1.0f / sum[r]);
    if (lane == 0) {
      p.lse[int64_t{line} * p.length_q + row] = none ? 0.0f : Log(sum[r]) + top[r];
    }
  }
}

}  // namespace

#define OSTRIA_ATTENTION(suffix, T)                                             \
  OSTRIA_KERNEL(attention_128##suffix, AttentionParams, kAttentionWarps * 32) { \
    Forward<T, 4>(p);                                                           \
  }                                                                             \
  OSTRIA_KERNEL(attention_256##suffix, AttentionParams, kAttentionWarps * 32) { Forward<T, 8>(p); }
OSTRIA_ATTENTION(_f32, float)
OSTRIA_ATTENTION(_f16, Float16)
OSTRIA_ATTENTION(_bf16, BFloat16)
#undef OSTRIA_ATTENTION

}  // namespace ostria::kernels
