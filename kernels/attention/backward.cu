// SPDX-License-Identifier: Apache-2.0
// The gradients of attention, which makes the weights again from lse. A block per 16 queries of a
// head gives dq, then one per 16 keys of a head gives dk and dv: nobody adds to what another makes.
#include "kernels/attention/attention_impl.h"

namespace ostria::kernels {
namespace {

// Shared memory: the block's rows and a tile, each with the two factors of scores and of slopes.
struct Parts {
  float *own_a, *own_b;    // [kAttentionBlock, dim], [.., dim_v]
  float *tile_a, *tile_b;  // [kTile, AttentionPitch(dim)], [.., of dim_v]
  float *lse, *delta;      // [kTile], of queries
  float *met, *slopes;     // [kTile, kRows] of the warp
};
OSTRIA_DEVICE Parts PartsOf(const AttentionParams& p, float* shared) {
  const int warp = static_cast<int>(threadIdx.x / 32);
  Parts s;
  s.own_a = shared;
  s.own_b = s.own_a + kAttentionBlock * p.dim;
  s.tile_a = s.own_b + kAttentionBlock * p.dim_v;
  s.tile_b = s.tile_a + kTile * AttentionPitch(p.dim);
  s.lse = s.tile_b + kTile * AttentionPitch(p.dim_v);
  s.delta = s.lse + kTile;
  s.met = s.delta + kTile + warp * 2 * kTile * kRows;
  s.slopes = s.met + kTile * kRows;
  return s;
}

// What dropout does to the lane's weights: a factor for each in s.met. The warp's rows are queries,
// or keys.
template <bool kQueries>
OSTRIA_DEVICE void DrawFactors(const AttentionParams& p, const Parts& s, int64_t batch, int head,
                               int row, int key) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  OSTRIA_NO_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float factor = 1.0f;
    if (p.key != nullptr) {
      factor = DropFactor(p, batch, head, kQueries ? row + r : row, kQueries ? key : key + r);
    }
    s.met[lane * kRows + r] = factor;
  }
}

// The weight of a query and a key that met the value, from its factor, and the slope of their
// product.
template <class T>
OSTRIA_DEVICE void Slope(const AttentionParams& p, int64_t batch, int head, int row, int key,
                         int keys, float product, float dp, float lse, float delta, float* met,
                         float* slope) {
  const float s = Masked<T>(p, batch, head, row, key, keys, product * p.scale);
  const float weight = ExpOf(s - lse), factor = *met;
  *met = weight * factor;
  *slope = weight * p.scale * (dp * factor - delta);
}

template <class T, int kColumns>
OSTRIA_DEVICE void GradQueries(const AttentionParams& p) {
  OSTRIA_DYNAMIC_SHARED(float, shared);
  const Parts s = PartsOf(p, shared);
  const int pitch = AttentionPitch(p.dim), pitch_v = AttentionPitch(p.dim_v);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int blocks = (p.length_q + kAttentionBlock - 1) / kAttentionBlock;
  const int block = blocks - 1 - static_cast<int>(blockIdx.x % static_cast<unsigned>(blocks));
  const int line = static_cast<int>(blockIdx.x / static_cast<unsigned>(blocks));
  const int64_t batch = line / p.heads;
  const int head = line % p.heads, kv_head = head / (p.heads / p.kv_heads);
  const int q0 = block * kAttentionBlock, first = q0 + warp * kRows;
  const int keys = KeysOf(p, batch);
  const int limit = p.causal != 0 ? min(keys, q0 + kAttentionBlock) : keys;
  StageRows(static_cast<const T*>(p.q) + RowOf(batch, p.length_q, q0, p.heads, head, p.dim),
            int64_t{p.heads} * p.dim, p.length_q - q0, kAttentionBlock, p.dim, p.dim, 1.0f,
            s.own_a);
  StageRows(static_cast<const T*>(p.g) + RowOf(batch, p.length_q, q0, p.heads, head, p.dim_v),
            int64_t{p.heads} * p.dim_v, p.length_q - q0, kAttentionBlock, p.dim_v, p.dim_v, 1.0f,
            s.own_b);
  __syncthreads();
  float lse[kRows], delta[kRows], out[kRows][kColumns];
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kColumns; ++i) out[r][i] = 0;
    const int row = min(first + r, p.length_q - 1);
    const int64_t at = int64_t{line} * p.length_q + row;
    const T* const y =
        static_cast<const T*>(p.y) + RowOf(batch, p.length_q, row, p.heads, head, p.dim_v);
    float sum = 0;
    for (int c = lane; c < p.dim_v; c += 32) {
      sum = Fma(s.own_b[(warp * kRows + r) * p.dim_v + c], Load(y + c), sum);
    }
    delta[r] = WarpSum(sum) - (p.lse_grad == nullptr ? 0.0f : p.lse_grad[at]);
    lse[r] = p.lse[at];
    if (lane == 0 && first + r < p.length_q) p.delta[at] = delta[r];
  }
  for (int j0 = 0; j0 < limit; j0 += kTile) {
    __syncthreads();
    StageRows(
        static_cast<const T*>(p.k) + RowOf(batch, p.length_kv, j0, p.kv_heads, kv_head, p.dim),
        int64_t{p.kv_heads} * p.dim, p.length_kv - j0, kTile, p.dim, pitch, 1.0f, s.tile_a);
    StageRows(
        static_cast<const T*>(p.v) + RowOf(batch, p.length_kv, j0, p.kv_heads, kv_head, p.dim_v),
        int64_t{p.kv_heads} * p.dim_v, p.length_kv - j0, kTile, p.dim_v, pitch_v, 1.0f, s.tile_b);
    __syncthreads();
    float product[kRows], dp[kRows];
    Dots(s.own_a + warp * kRows * p.dim, s.tile_a + lane * pitch, p.dim, product);
    Dots(s.own_b + warp * kRows * p.dim_v, s.tile_b + lane * pitch_v, p.dim_v, dp);
    DrawFactors<true>(p, s, batch, head, first, j0 + lane);
    for (int r = 0; r < kRows; ++r) {
      Slope<T>(p, batch, head, first + r, j0 + lane, keys, product[r], dp[r], lse[r], delta[r],
               &s.met[lane * kRows + r], &s.slopes[lane * kRows + r]);
    }
    __syncwarp();
    AddRows(s.slopes, s.tile_a, pitch, p.dim, out);
    __syncwarp();
  }
  for (int r = 0; r < kRows && first + r < p.length_q; ++r) {
    StoreRow(static_cast<T*>(p.dq) + RowOf(batch, p.length_q, first + r, p.heads, head, p.dim),
             p.dim, out[r], 1.0f);
  }
}

template <class T, int kColumns>
OSTRIA_DEVICE void GradKeys(const AttentionParams& p) {
  OSTRIA_DYNAMIC_SHARED(float, shared);
  const Parts s = PartsOf(p, shared);
  const int pitch = AttentionPitch(p.dim), pitch_v = AttentionPitch(p.dim_v);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int blocks = (p.length_kv + kAttentionBlock - 1) / kAttentionBlock;
  const int block = static_cast<int>(blockIdx.x % static_cast<unsigned>(blocks));
  const int line = static_cast<int>(blockIdx.x / static_cast<unsigned>(blocks));
  const int64_t batch = line / p.kv_heads;
  const int kv_head = line % p.kv_heads, group = p.heads / p.kv_heads;
  const int k0 = block * kAttentionBlock, first = k0 + warp * kRows;
  const int keys = KeysOf(p, batch);
  StageRows(static_cast<const T*>(p.k) + RowOf(batch, p.length_kv, k0, p.kv_heads, kv_head, p.dim),
            int64_t{p.kv_heads} * p.dim, p.length_kv - k0, kAttentionBlock, p.dim, p.dim, 1.0f,
            s.own_a);
  StageRows(
      static_cast<const T*>(p.v) + RowOf(batch, p.length_kv, k0, p.kv_heads, kv_head, p.dim_v),
      int64_t{p.kv_heads} * p.dim_v, p.length_kv - k0, kAttentionBlock, p.dim_v, p.dim_v, 1.0f,
      s.own_b);
  float dk[kRows][kColumns], dv[kRows][kColumns];
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kColumns; ++i) dk[r][i] = dv[r][i] = 0;
  }
  // Queries that see none of these keys are left out.
  const int begin = p.causal != 0 ? k0 / kTile * kTile : 0;
  for (int head = kv_head * group; k0 < keys && head < (kv_head + 1) * group; ++head) {
    OSTRIA_NO_UNROLL
    for (int q0 = begin; q0 < p.length_q; q0 += kTile) {
      __syncthreads();
      StageRows(static_cast<const T*>(p.q) + RowOf(batch, p.length_q, q0, p.heads, head, p.dim),
                int64_t{p.heads} * p.dim, p.length_q - q0, kTile, p.dim, pitch, 1.0f, s.tile_a);
      StageRows(static_cast<const T*>(p.g) + RowOf(batch, p.length_q, q0, p.heads, head, p.dim_v),
                int64_t{p.heads} * p.dim_v, p.length_q - q0, kTile, p.dim_v, pitch_v, 1.0f,
                s.tile_b);
      if (warp == 0) {
        const int64_t at = (batch * p.heads + head) * p.length_q + q0 + lane;
        s.lse[lane] = q0 + lane < p.length_q ? p.lse[at] : 0.0f;
        s.delta[lane] = q0 + lane < p.length_q ? p.delta[at] : 0.0f;
      }
      __syncthreads();
      float product[kRows], dp[kRows];
      Dots(s.own_a + warp * kRows * p.dim, s.tile_a + lane * pitch, p.dim, product);
      Dots(s.own_b + warp * kRows * p.dim_v, s.tile_b + lane * pitch_v, p.dim_v, dp);
      DrawFactors<false>(p, s, batch, head, q0 + lane, first);
      for (int r = 0; r < kRows; ++r) {
        Slope<T>(p, batch, head, q0 + lane, first + r, keys, product[r], dp[r], s.lse[lane],
                 s.delta[lane], &s.met[lane * kRows + r], &s.slopes[lane * kRows + r]);
      }
      __syncwarp();
      AddRows(s.slopes, s.tile_a, pitch, p.dim, dk);
      AddRows(s.met, s.tile_b, pitch_v, p.dim_v, dv);
    }
  }
  for (int r = 0; r < kRows && first + r < p.length_kv; ++r) {
    StoreRow(
        static_cast<T*>(p.dk) + RowOf(batch, p.length_kv, first + r, p.kv_heads, kv_head, p.dim),
        p.dim, dk[r], 1.0f);
    StoreRow(
        static_cast<T*>(p.dv) + RowOf(batch, p.length_kv, first + r, p.kv_heads, kv_head, p.dim_v),
        p.dim_v, dv[r], 1.0f);
  }
}

}  // namespace

#define OSTRIA_ATTENTION(suffix, T)                                                     \
  OSTRIA_KERNEL(attention_grad_q_128##suffix, AttentionParams, kAttentionWarps * 32) {  \
    GradQueries<T, 4>(p);                                                               \
  }                                                                                     \
  OSTRIA_KERNEL(attention_grad_q_256##suffix, AttentionParams, kAttentionWarps * 32) {  \
    GradQueries<T, 8>(p);                                                               \
  }                                                                                     \
  OSTRIA_KERNEL(attention_grad_kv_128##suffix, AttentionParams, kAttentionWarps * 32) { \
    GradKeys<T, 4>(p);                                                                  \
  }                                                                                     \
  OSTRIA_KERNEL(attention_grad_kv_256##suffix, AttentionParams, kAttentionWarps * 32) { \
    GradKeys<T, 8>(p);                                                                  \
  }
OSTRIA_ATTENTION(_f32, float)
OSTRIA_ATTENTION(_f16, Float16)
OSTRIA_ATTENTION(_bf16, BFloat16)
#undef OSTRIA_ATTENTION

}  // namespace ostria::kernels
