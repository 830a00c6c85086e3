// SPDX-License-Identifier: Apache-2.0
// The loops of batch_norm_table.h, compiled once per instruction set.
#pragma once

#include "backend/cpu/simd/batch_norm_table.h"
#include "backend/cpu/simd/pack.h"

namespace ostria {
namespace simd {
inline namespace OSTRIA_ISA_NS {

using kernels::Fma;

template <class V>
struct BatchNorm {
  using T = ScalarOf<V>;
  static constexpr int64_t kLanes = kLanesOf<V>;
  static constexpr int64_t kBlock = 4 * kLanes;  // columns whose sums stay in registers

  static OSTRIA_FN V LoadSome(const T* p, int64_t n) {
    return n >= kLanes ? LoadVec<V>(p) : LoadVecPartial<V>(p, n);
  }
  static OSTRIA_FN void StoreSome(T* p, int64_t n, V v) {
    if (n >= kLanes) {
      Store(p, v);
    } else {
      StorePartial(p, n, v);
    }
  }

  // The sums of up to kBlock columns. Inlined with constant `vecs` and `width` for whole blocks.
  template <bool kSquares>
  static OSTRIA_FN void SumBlock(const T* x, const T* mean, int64_t rows, int64_t cols, T* out,
                                 int64_t vecs, int64_t width) {
    V acc[4], shift[4];
    for (int64_t v = 0; v < vecs; ++v) {
      acc[v] = V(T(0));
      shift[v] = kSquares ? LoadSome(mean + v * kLanes, width - v * kLanes) : V(T(0));
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t v = 0; v < vecs; ++v) {
        const V value = LoadSome(x + r * cols + v * kLanes, width - v * kLanes);
        if constexpr (kSquares) {
          const V d = value - shift[v];
          acc[v] = Fma(d, d, acc[v]);
        } else {
          acc[v] = acc[v] + value;
        }
      }
    }
    for (int64_t v = 0; v < vecs; ++v) StoreSome(out + v * kLanes, width - v * kLanes, acc[v]);
  }

  static void Sums(const T* x, const T* mean, int64_t rows, int64_t cols, T* out) {
    for (int64_t c = 0; c < cols; c += kBlock) {
      const int64_t width = cols - c < kBlock ? cols - c : kBlock;
      const int64_t vecs = (width + kLanes - 1) / kLanes;
      if (mean == nullptr) {
        if (width == kBlock) {
          SumBlock<false>(x + c, nullptr, rows, cols, out + c, 4, kBlock);
        } else {
          SumBlock<false>(x + c, nullptr, rows, cols, out + c, vecs, width);
        }
      } else if (width == kBlock) {
        SumBlock<true>(x + c, mean + c, rows, cols, out + c, 4, kBlock);
      } else {
        SumBlock<true>(x + c, mean + c, rows, cols, out + c, vecs, width);
      }
    }
  }

  static void GradSums(const T* g, const T* x, const T* mean, int64_t rows, int64_t cols, T* sum_g,
                       T* sum_gx) {
    for (int64_t c = 0; c < cols; c += 2 * kLanes) {
      const int64_t left[2] = {cols - c, cols - c - kLanes};
      const int vecs = left[1] > 0 ? 2 : 1;
      V plain[2], product[2], shift[2];
      for (int v = 0; v < vecs; ++v) {
        plain[v] = product[v] = V(T(0));
        shift[v] = LoadSome(mean + c + v * kLanes, left[v]);
      }
      for (int64_t r = 0; r < rows; ++r) {
        for (int v = 0; v < vecs; ++v) {
          const int64_t at = r * cols + c + v * kLanes;
          const V gv = LoadSome(g + at, left[v]);
          plain[v] = plain[v] + gv;
          product[v] = Fma(gv, LoadSome(x + at, left[v]) - shift[v], product[v]);
        }
      }
      for (int v = 0; v < vecs; ++v) {
        StoreSome(sum_g + c + v * kLanes, left[v], plain[v]);
        StoreSome(sum_gx + c + v * kLanes, left[v], product[v]);
      }
    }
  }

  static void Apply(const T* x, const T* mean, const T* factor, const T* bias, T* y, int64_t rows,
                    int64_t cols) {
    for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
      for (int64_t c = 0; c < cols; c += kLanes) {
        const int64_t n = cols - c;
        const V d = LoadSome(x + c, n) - LoadSome(mean + c, n);
        StoreSome(y + c, n, Fma(d, LoadSome(factor + c, n), LoadSome(bias + c, n)));
      }
    }
  }

  static void ApplyGrad(const T* g, const T* x, const T* mean, const T* a, const T* b, const T* c0,
                        T* dx, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r, x += cols, g += cols, dx += cols) {
      for (int64_t c = 0; c < cols; c += kLanes) {
        const int64_t n = cols - c;
        const V d = LoadSome(x + c, n) - LoadSome(mean + c, n);
        const V sum = Fma(LoadSome(g + c, n), LoadSome(a + c, n), LoadSome(c0 + c, n));
        StoreSome(dx + c, n, Fma(d, LoadSome(b + c, n), sum));
      }
    }
  }

  static constexpr BatchNormKernels<T> kFns = {&Sums, &GradSums, &Apply, &ApplyGrad};
};

constexpr BatchNormTable MakeBatchNormTable() {
  return {BatchNorm<VecF32>::kFns, BatchNorm<VecF64>::kFns};
}

}  // namespace OSTRIA_ISA_NS
}  // namespace simd
}  // namespace ostria
