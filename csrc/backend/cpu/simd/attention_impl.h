// SPDX-License-Identifier: Apache-2.0
// The functions of attention_table.h, compiled once per instruction set. Scores are kept
// transposed, [key, query]: a query is a lane, so its maximum and sum need no folding, and keys and
// values are read in place. The online softmax is Milakov and Gimelshein's (2018), in the blocks of
// Dao et al.
// ("FlashAttention", 2022); the backward pass makes the weights again from lse.
#pragma once

#include "backend/cpu/simd/attention_table.h"
#include "backend/cpu/simd/pack.h"
#include "backend/cpu/simd/random_impl.h"
#include "backend/cpu/simd/tile.h"
#include "kernels/scalar/math.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

template <class V>
struct Attention {
  using T = ScalarOf<V>;
  static constexpr int64_t kLanes = kLanesOf<V>, kBlock = kAttentionBlock;
  // Keys at once where the causal limit cuts through: whole vectors of queries left of it are
  // skipped.
  static constexpr int64_t kDiagonal = 16;
  static constexpr T kLowest = T(-3.0e38);

  static OSTRIA_FN V MinusInfinity() { return V(static_cast<T>(-__builtin_inff())); }

  // exp(x) for x <= 0, exactly 0 where it would be near the denormal numbers, which are slow.
  static OSTRIA_FN V ExpOf(V x) {
    const V least = V(sizeof(T) == 4 ? T(-87) : T(-708));
    return Select(x < least, V(T(0)), kernels::Exp(Max(least, x)));
  }

  struct Block {
    int64_t q0, rows;   // queries
    int64_t j0, width;  // keys
    int64_t first;      // queries before this one of the block see none of these keys
    int64_t batch, head;
  };

  static int64_t RoundUp(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

  // out[c * kBlock + r] = x[r * stride + c] * factor; zeros for the rows of the last vector that
  // are not there.
  static void Transpose(const T* x, int64_t stride, int64_t rows, int64_t cols, T factor, T* out) {
    const int64_t padded = RoundUp(rows);
    int64_t r = 0;
    if constexpr (sizeof(T) == 4) {
      typedef float F4 __attribute__((vector_size(16), aligned(4)));
      typedef int I4 __attribute__((vector_size(16)));
      for (; r + 4 <= rows; r += 4) {
        const T* row = x + r * stride;
        int64_t c = 0;
        for (; c + 4 <= cols; c += 4) {
          const auto at = [&](int64_t i) {
            return *reinterpret_cast<const F4*>(row + i * stride + c) * factor;
          };
          const F4 a = at(0), b = at(1), d = at(2), e = at(3);
          const F4 ab0 = __builtin_shuffle(a, b, I4{0, 4, 1, 5});
          const F4 ab1 = __builtin_shuffle(a, b, I4{2, 6, 3, 7});
          const F4 de0 = __builtin_shuffle(d, e, I4{0, 4, 1, 5});
          const F4 de1 = __builtin_shuffle(d, e, I4{2, 6, 3, 7});
          const auto put = [&](int64_t i, F4 v) {
            *reinterpret_cast<F4*>(out + (c + i) * kBlock + r) = v;
          };
          put(0, __builtin_shuffle(ab0, de0, I4{0, 1, 4, 5}));
          put(1, __builtin_shuffle(ab0, de0, I4{2, 3, 6, 7}));
          put(2, __builtin_shuffle(ab1, de1, I4{0, 1, 4, 5}));
          put(3, __builtin_shuffle(ab1, de1, I4{2, 3, 6, 7}));
        }
        for (; c < cols; ++c) {
          for (int64_t i = 0; i < 4; ++i) out[c * kBlock + r + i] = row[i * stride + c] * factor;
        }
      }
    }
    for (; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) out[c * kBlock + r] = x[r * stride + c] * factor;
    }
    for (; r < padded; ++r) {
      for (int64_t c = 0; c < cols; ++c) out[c * kBlock + r] = T(0);
    }
  }

  // The keys of a block: whole ones left of the causal limit, narrow ones along it.
  static int64_t Width(const AttentionArgs& a, int64_t q0, int64_t j0, int64_t limit) {
    const int64_t most = a.causal && j0 + kBlock > q0 ? kDiagonal : kBlock;
    return limit - j0 < most ? limit - j0 : most;
  }
  static int64_t Limit(const AttentionArgs& a, int64_t q0, int64_t rows, int64_t keys) {
    return a.causal && q0 + rows < keys ? q0 + rows : keys;
  }
  static int64_t FirstQuery(const AttentionArgs& a, int64_t q0, int64_t j0) {
    return a.causal && j0 > q0 ? (j0 - q0) / kLanes * kLanes : 0;
  }

  // scores[key, query] of the block, masked keys minus infinity.
  static void Scores(const AttentionArgs& a, const Block& at, const T* q_columns, T* scores) {
    const int64_t stride = a.kv_heads * a.dim, lanes = RoundUp(at.rows) - at.first;
    const int64_t kv_head = at.head / (a.heads / a.kv_heads);
    const T* k = static_cast<const T*>(a.k) +
                 ((at.batch * a.length_kv + at.j0) * a.kv_heads + kv_head) * a.dim;
    Tile<V>::Product({.a = k,
                      .a_m = stride,
                      .a_k = 1,
                      .b = q_columns + at.first,
                      .b_k = kBlock,
                      .c = scores + at.first,
                      .c_m = kBlock,
                      .m = at.width,
                      .n = lanes,
                      .k = a.dim,
                      .add = false});
    if (a.mask != nullptr) Mask(a, at, scores);
    if (!a.causal) return;
    for (int64_t j = 0; j < at.width; ++j) {
      for (int64_t r = at.first; r < at.rows && at.q0 + r < at.j0 + j; r += kLanes) {
        const int64_t hidden = at.j0 + j - at.q0 - r;
        MaskOf<V> mask;
        FirstLanes(hidden < kLanes ? hidden : kLanes, &mask);
        T* s = scores + j * kBlock + r;
        Store(s, Select(mask, MinusInfinity(), LoadVec<V>(s)));
      }
    }
  }

  static void Mask(const AttentionArgs& a, const Block& at, T* scores) {
    const int64_t base = at.batch * a.mask_batch + at.head * a.mask_head + at.j0;
    for (int64_t r = at.first; r < at.rows; ++r) {
      const int64_t row = base + (at.q0 + r) * a.mask_row;
      if (a.bias) {
        const T* bias = static_cast<const T*>(a.mask) + row;
        for (int64_t j = 0; j < at.width; ++j) scores[j * kBlock + r] += bias[j];
      } else {
        const bool* mask = static_cast<const bool*>(a.mask) + row;
        for (int64_t j = 0; j < at.width; ++j) {
          if (!mask[j]) scores[j * kBlock + r] = static_cast<T>(-__builtin_inff());
        }
      }
    }
  }

  // factors[key, query]: 0 for the weights that dropout drops, else 1 / (1 - rate).
  static void DropFactors(const AttentionArgs& a, const Block& at, T* factors) {
    alignas(64) uint32_t words[kBlock + 8];
    const T keep = static_cast<T>(a.keep);
    for (int64_t r = at.first; r < at.rows; ++r) {
      const uint64_t row = (static_cast<uint64_t>(at.batch) * static_cast<uint64_t>(a.heads) +
                            static_cast<uint64_t>(at.head)) *
                               static_cast<uint64_t>(a.length_q) +
                           static_cast<uint64_t>(at.q0 + r);
      const uint64_t element =
          a.first + row * static_cast<uint64_t>(a.length_kv) + static_cast<uint64_t>(at.j0);
      const auto skip = static_cast<int64_t>(element % 4);
      PhiloxBits(a.key, a.step, element / 4, (skip + at.width + 3) / 4, words);
      for (int64_t j = 0; j < at.width; ++j) {
        factors[j * kBlock + r] = words[skip + j] <= a.last ? keep : T(0);
      }
    }
  }

  // --- forward ---------------------------------------------------------------------------------

  // Weights of the block relative to the maxima so far, in place of the scores; `shrink` receives
  // what earlier sums are to be multiplied by.
  static void Weights(const Block& at, T* scores, T* top, T* sum, T* shrink) {
    for (int64_t r = at.first; r < at.rows; r += kLanes) {
      const V before = LoadVec<V>(top + r);
      V most = before;
      for (int64_t j = 0; j < at.width; ++j) most = Max(LoadVec<V>(scores + j * kBlock + r), most);
      V total = V(T(0));
      for (int64_t j = 0; j < at.width; ++j) {
        T* s = scores + j * kBlock + r;
        const V p = ExpOf(LoadVec<V>(s) - most);
        total = total + p;
        Store(s, p);
      }
      const V factor = ExpOf(before - most);
      Store(shrink + r, factor);
      Store(top + r, most);
      Store(sum + r, Fma(LoadVec<V>(sum + r), factor, total));
    }
  }

  static void Multiply(const Block& at, T* x, const T* factors) {
    for (int64_t j = 0; j < at.width; ++j) {
      for (int64_t r = at.first; r < at.rows; r += kLanes) {
        T* p = x + j * kBlock + r;
        Store(p, LoadVec<V>(p) * LoadVec<V>(factors + j * kBlock + r));
      }
    }
  }

  static void Forward(const AttentionArgs& a, int64_t batch, int64_t head, int64_t q0, int64_t keys,
                      T* work) {
    const int64_t rows = a.length_q - q0 < kBlock ? a.length_q - q0 : kBlock;
    const int64_t wide = RoundUp(a.dim_v), kv_head = head / (a.heads / a.kv_heads);
    T *q_columns = work, *scores = q_columns + a.dim * kBlock, *drop = scores + kBlock * kBlock,
      *out = drop + kBlock * kBlock, *top = out + kBlock * wide, *sum = top + kBlock,
      *shrink = sum + kBlock;
    const T* q = static_cast<const T*>(a.q) + ((batch * a.length_q + q0) * a.heads + head) * a.dim;
    Transpose(q, a.heads * a.dim, rows, a.dim, static_cast<T>(a.scale), q_columns);
    for (int64_t r = 0; r < kBlock; r += kLanes) {
      Store(top + r, V(kLowest));
      Store(sum + r, V(T(0)));
    }
    for (int64_t i = 0; i < rows * wide; i += kLanes) Store(out + i, V(T(0)));
    const int64_t limit = Limit(a, q0, rows, keys);
    for (int64_t j0 = 0, width; j0 < limit; j0 += width) {
      width = Width(a, q0, j0, limit);
      const Block at = {q0, rows, j0, width, FirstQuery(a, q0, j0), batch, head};
      Scores(a, at, q_columns, scores);
      Weights(at, scores, top, sum, shrink);
      if (a.drop) {
        DropFactors(a, at, drop);
        Multiply(at, scores, drop);
      }
      for (int64_t r = at.first; j0 > 0 && r < rows; ++r) {
        if (shrink[r] == T(1)) continue;
        const V factor = V(shrink[r]);
        T* row = out + r * wide;
        for (int64_t c = 0; c < wide; c += kLanes) Store(row + c, LoadVec<V>(row + c) * factor);
      }
      const T* v = static_cast<const T*>(a.v) +
                   ((batch * a.length_kv + j0) * a.kv_heads + kv_head) * a.dim_v;
      Tile<V>::Product({.a = scores + at.first,
                        .a_m = 1,
                        .a_k = kBlock,
                        .b = v,
                        .b_k = a.kv_heads * a.dim_v,
                        .c = out + at.first * wide,
                        .c_m = wide,
                        .m = rows - at.first,
                        .n = a.dim_v,
                        .k = width,
                        .add = true});
    }
    T* y = static_cast<T*>(a.y) + ((batch * a.length_q + q0) * a.heads + head) * a.dim_v;
    T* lse = static_cast<T*>(a.lse) + (batch * a.heads + head) * a.length_q + q0;
    for (int64_t r = 0; r < rows; ++r, y += a.heads * a.dim_v) {
      const bool none = sum[r] == T(0);
      const V factor = V(none ? T(0) : T(1) / sum[r]);
      for (int64_t c = 0; c < a.dim_v; c += kLanes) {
        StoreVec(y + c, a.dim_v - c, LoadVec<V>(out + r * wide + c) * factor);
      }
      lse[r] = none ? T(0) : Log(sum[r]) + top[r];
    }
  }

  static T Log(T x) {
    if constexpr (sizeof(T) == 4) return __builtin_logf(x);
    return __builtin_log(x);
  }

  // --- backward --------------------------------------------------------------------------------

  // In place: scores become the weights that met v, dp the gradient by the products q k^T.
  static void Slopes(const AttentionArgs& a, const Block& at, const T* lse, const T* delta,
                     const T* drop, T* scores, T* dp) {
    const V scale = V(static_cast<T>(a.scale));
    for (int64_t j = 0; j < at.width; ++j) {
      for (int64_t r = at.first; r < at.rows; r += kLanes) {
        T *s = scores + j * kBlock + r, *d = dp + j * kBlock + r;
        const V p = ExpOf(LoadVec<V>(s) - LoadVec<V>(lse + r));
        V slope = LoadVec<V>(d);
        if (drop != nullptr) {
          const V factor = LoadVec<V>(drop + j * kBlock + r);
          slope = slope * factor;
          Store(s, p * factor);
        } else {
          Store(s, p);
        }
        Store(d, p * scale * (slope - LoadVec<V>(delta + r)));
      }
    }
  }

  static void BackwardBlock(const AttentionArgs& a, int64_t batch, int64_t head, int64_t q0,
                            int64_t keys, T* work) {
    const int64_t rows = a.length_q - q0 < kBlock ? a.length_q - q0 : kBlock;
    const int64_t wide = RoundUp(a.dim), kv_head = head / (a.heads / a.kv_heads);
    T *q_columns = work, *g_columns = q_columns + a.dim * kBlock,
      *scores = g_columns + a.dim_v * kBlock, *dp = scores + kBlock * kBlock,
      *drop = dp + kBlock * kBlock, *out = drop + kBlock * kBlock, *lse = out + kBlock * wide,
      *delta = lse + kBlock;
    const int64_t q_stride = a.heads * a.dim, y_stride = a.heads * a.dim_v;
    const int64_t k_stride = a.kv_heads * a.dim, v_stride = a.kv_heads * a.dim_v;
    const int64_t q_row = (batch * a.length_q + q0) * a.heads + head;
    const T* q = static_cast<const T*>(a.q) + q_row * a.dim;
    const T* g = static_cast<const T*>(a.g) + q_row * a.dim_v;
    const T* y = static_cast<const T*>(a.y) + q_row * a.dim_v;
    Transpose(q, q_stride, rows, a.dim, static_cast<T>(a.scale), q_columns);
    Transpose(g, y_stride, rows, a.dim_v, T(1), g_columns);
    const int64_t lse_row = (batch * a.heads + head) * a.length_q + q0;
    for (int64_t r = 0; r < kBlock; r += kLanes) {
      Store(lse + r, V(T(0)));
      Store(delta + r, V(T(0)));
    }
    for (int64_t r = 0; r < rows; ++r) {
      V sum = V(T(0));
      for (int64_t c = 0; c < a.dim_v; c += kLanes) {
        sum = Fma(LoadVecUpTo<V>(g + r * y_stride + c, a.dim_v - c),
                  LoadVecUpTo<V>(y + r * y_stride + c, a.dim_v - c), sum);
      }
      lse[r] = static_cast<const T*>(a.lse)[lse_row + r];
      delta[r] = ReduceAdd(sum);
      if (a.lse_grad != nullptr) delta[r] -= static_cast<const T*>(a.lse_grad)[lse_row + r];
    }
    for (int64_t i = 0; i < rows * wide; i += kLanes) Store(out + i, V(T(0)));
    const int64_t limit = Limit(a, q0, rows, keys);
    for (int64_t j0 = 0, width; j0 < limit; j0 += width) {
      width = Width(a, q0, j0, limit);
      const Block at = {q0, rows, j0, width, FirstQuery(a, q0, j0), batch, head};
      const int64_t seen = rows - at.first;
      const int64_t kv_row = (batch * a.length_kv + j0) * a.kv_heads + kv_head;
      Scores(a, at, q_columns, scores);
      Tile<V>::Product({.a = static_cast<const T*>(a.v) + kv_row * a.dim_v,
                        .a_m = v_stride,
                        .a_k = 1,
                        .b = g_columns + at.first,
                        .b_k = kBlock,
                        .c = dp + at.first,
                        .c_m = kBlock,
                        .m = width,
                        .n = RoundUp(rows) - at.first,
                        .k = a.dim_v,
                        .add = false});
      if (a.drop) DropFactors(a, at, drop);
      Slopes(a, at, lse, delta, a.drop ? drop : nullptr, scores, dp);
      Tile<V>::Product({.a = scores + at.first,
                        .a_m = kBlock,
                        .a_k = 1,
                        .b = g + at.first * y_stride,
                        .b_k = y_stride,
                        .c = static_cast<T*>(a.dv) + kv_row * a.dim_v,
                        .c_m = v_stride,
                        .m = width,
                        .n = a.dim_v,
                        .k = seen,
                        .add = true});
      Tile<V>::Product({.a = dp + at.first,
                        .a_m = kBlock,
                        .a_k = 1,
                        .b = q + at.first * q_stride,
                        .b_k = q_stride,
                        .c = static_cast<T*>(a.dk) + kv_row * a.dim,
                        .c_m = k_stride,
                        .m = width,
                        .n = a.dim,
                        .k = seen,
                        .add = true});
      Tile<V>::Product({.a = dp + at.first,
                        .a_m = 1,
                        .a_k = kBlock,
                        .b = static_cast<const T*>(a.k) + kv_row * a.dim,
                        .b_k = k_stride,
                        .c = out + at.first * wide,
                        .c_m = wide,
                        .m = seen,
                        .n = a.dim,
                        .k = width,
                        .add = true});
    }
    T* dq = static_cast<T*>(a.dq) + q_row * a.dim;
    for (int64_t r = 0; r < rows; ++r, dq += q_stride) {
      for (int64_t c = 0; c < a.dim; c += kLanes) {
        StoreVec(dq + c, a.dim - c, LoadVec<V>(out + r * wide + c));
      }
    }
  }

  static void Backward(const AttentionArgs& a, int64_t batch, int64_t kv_head, int64_t keys,
                       T* work) {
    const auto clear = [&](void* x, int64_t dim) {
      T* row = static_cast<T*>(x) + (batch * a.length_kv * a.kv_heads + kv_head) * dim;
      for (int64_t j = 0; j < a.length_kv; ++j, row += a.kv_heads * dim) {
        for (int64_t c = 0; c < dim; c += kLanes) StoreVec(row + c, dim - c, V(T(0)));
      }
    };
    clear(a.dk, a.dim);
    clear(a.dv, a.dim_v);
    const int64_t group = a.heads / a.kv_heads;
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      for (int64_t q0 = 0; q0 < a.length_q; q0 += kBlock) {
        BackwardBlock(a, batch, head, q0, keys, work);
      }
    }
  }

  // Of the larger of both passes.
  static int64_t Workspace(int64_t dim, int64_t dim_v) {
    const int64_t wide = RoundUp(dim > dim_v ? dim : dim_v);
    return kBlock * (dim + dim_v + wide + 3 * kBlock + 3);
  }

  static constexpr AttentionFns<T> kFns = {&Workspace, &Forward, &Backward};
};

constexpr AttentionTable MakeAttentionTable() {
  return {Attention<VecF32>::kFns, Attention<VecF64>::kFns};
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
