// SPDX-License-Identifier: Apache-2.0
// The matrix products of gemm_table.h, compiled once per instruction set.
#pragma once

#include "backend/cpu/simd/gemm_table.h"
#include "backend/cpu/simd/pack.h"
#include "kernels/scalar/functors.h"

namespace ostria {
namespace simd {
inline namespace OSTRIA_ISA_NS {

using kernels::Fma;
using kernels::Functor;
using kernels::ScalarOp;

template <class V>
struct Gemm {
  using T = ScalarOf<V>;
  static constexpr int64_t kLanes = kLanesOf<V>;
  static constexpr int64_t kMr = 6, kNr = 2 * kLanes;
  static constexpr int64_t kPackedCols = (kGemmCols + kNr - 1) / kNr * kNr;

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

  template <ScalarOp op>
  static void Map(T* y, int64_t n) {
    for (; n > 0; n -= kLanes, y += kLanes) {
      StoreSome(y, n, Functor<op>::Call(LoadSome(y, n)));
    }
  }

  // Bias and activation of one row that is still in cache. Numbers as in ops::Activation.
  static void Finish(const GemmArgs& g, T* y, const T* bias, int64_t n) {
    if (bias != nullptr) {
      int64_t j = 0;
      for (; j < n; j += kLanes) {
        StoreSome(y + j, n - j, LoadSome(y + j, n - j) + LoadSome(bias + j, n - j));
      }
    }
    switch (g.activation) {
      case 1: return Map<ScalarOp::kRelu>(y, n);
      case 2: return Map<ScalarOp::kTanh>(y, n);
      case 3: return Map<ScalarOp::kSigmoid>(y, n);
      case 4: return Map<ScalarOp::kGelu>(y, n);
      case 5: return Map<ScalarOp::kGeluTanh>(y, n);
      case 6: return Map<ScalarOp::kSilu>(y, n);
      default: return;
    }
  }

  static void PackA(const GemmArgs& g, int64_t k0, int64_t kc, T* packed) {
    const T* a = static_cast<const T*>(g.a) + k0 * g.a_k;
    for (int64_t i0 = 0; i0 < g.m; i0 += kMr) {
      for (int64_t k = 0; k < kc; ++k) {
        for (int64_t i = 0; i < kMr; ++i) {
          *packed++ = i0 + i < g.m ? a[(i0 + i) * g.a_m + k * g.a_k] : T(0);
        }
      }
    }
  }
  static void PackB(const GemmArgs& g, int64_t k0, int64_t kc, T* packed) {
    const T* b = static_cast<const T*>(g.b) + k0 * g.b_k;
    for (int64_t j0 = 0; j0 < g.n; j0 += kNr) {
      for (int64_t k = 0; k < kc; ++k) {
        const T* row = b + k * g.b_k + j0 * g.b_n;
        if (g.b_n == 1 && j0 + kNr <= g.n) {
          Store(packed, LoadVec<V>(row));
          Store(packed + kLanes, LoadVec<V>(row + kLanes));
        } else {
          for (int64_t j = 0; j < kNr; ++j) packed[j] = j0 + j < g.n ? row[j * g.b_n] : T(0);
        }
        packed += kNr;
      }
    }
  }

  // `first`: y is written, else added to.
  static void Micro(const GemmArgs& g, int64_t i0, int64_t j0, int64_t kc, const T* a, const T* b,
                    bool first) {
    V acc[kMr][2];
    for (int64_t i = 0; i < kMr; ++i) acc[i][0] = acc[i][1] = V(T(0));
    for (int64_t k = 0; k < kc; ++k, a += kMr, b += kNr) {
      const V b0 = LoadVec<V>(b), b1 = LoadVec<V>(b + kLanes);
      for (int64_t i = 0; i < kMr; ++i) {
        const V x = V(a[i]);
        acc[i][0] = Fma(x, b0, acc[i][0]);
        acc[i][1] = Fma(x, b1, acc[i][1]);
      }
    }
    T* y = static_cast<T*>(g.y) + i0 * g.y_m + j0 * g.y_n;
    const int64_t rows = g.m - i0 < kMr ? g.m - i0 : kMr, cols = g.n - j0 < kNr ? g.n - j0 : kNr;
    for (int64_t i = 0; i < rows; ++i) {
      T* row = y + i * g.y_m;
      if (g.y_n == 1) {
        for (int64_t h = 0; h < 2 && h * kLanes < cols; ++h) {
          T* at = row + h * kLanes;
          const int64_t left = cols - h * kLanes;
          StoreSome(at, left, first ? acc[i][h] : LoadSome(at, left) + acc[i][h]);
        }
      } else {
        T line[kNr];
        Store(line, acc[i][0]);
        Store(line + kLanes, acc[i][1]);
        for (int64_t j = 0; j < cols; ++j) {
          row[j * g.y_n] = first ? line[j] : row[j * g.y_n] + line[j];
        }
      }
    }
  }

  static void Block(const GemmArgs& g) {
    alignas(64) T packed_a[kGemmRows * kGemmDepth];
    alignas(64) T packed_b[kPackedCols * kGemmDepth];
    int64_t k0 = 0;
    do {  // once even when k is 0: y becomes zero
      const int64_t kc = g.k - k0 < kGemmDepth ? g.k - k0 : kGemmDepth;
      PackA(g, k0, kc, packed_a);
      PackB(g, k0, kc, packed_b);
      for (int64_t j0 = 0; j0 < g.n; j0 += kNr) {
        for (int64_t i0 = 0; i0 < g.m; i0 += kMr) {
          Micro(g, i0, j0, kc, packed_a + i0 * kc, packed_b + j0 * kc, k0 == 0);
        }
      }
      k0 += kGemmDepth;
    } while (k0 < g.k);
    if (g.bias == nullptr && g.activation == 0) return;
    for (int64_t i = 0; i < g.m; ++i) {
      T* row = static_cast<T*>(g.y) + i * g.y_m;
      if (g.y_n == 1) {
        Finish(g, row, static_cast<const T*>(g.bias), g.n);
        continue;
      }
      T line[kGemmCols];
      for (int64_t j = 0; j < g.n; ++j) line[j] = row[j * g.y_n];
      Finish(g, line, static_cast<const T*>(g.bias), g.n);
      for (int64_t j = 0; j < g.n; ++j) row[j * g.y_n] = line[j];
    }
  }

  // kVecs vectors of columns stay in registers while k runs; with few of them, several partial sums
  // hide the latency of the addition.
  template <int kVecs, int kSums>
  static void AxpyColumns(const GemmArgs& g, const T* b, T* y, int64_t n) {
    const T* a = static_cast<const T*>(g.a);
    const int64_t last = n - (kVecs - 1) * kLanes;
    V acc[kSums][kVecs];
    for (int s = 0; s < kSums; ++s) {
      for (int v = 0; v < kVecs; ++v) acc[s][v] = V(T(0));
    }
    int64_t k = 0;
    for (; k + kSums <= g.k; k += kSums) {
      for (int s = 0; s < kSums; ++s) {
        const V x = V(a[(k + s) * g.a_k]);
        const T* row = b + (k + s) * g.b_k;
        for (int v = 0; v + 1 < kVecs; ++v) {
          acc[s][v] = Fma(x, LoadVec<V>(row + v * kLanes), acc[s][v]);
        }
        acc[s][kVecs - 1] = Fma(x, LoadSome(row + (kVecs - 1) * kLanes, last), acc[s][kVecs - 1]);
      }
    }
    for (; k < g.k; ++k) {
      const V x = V(a[k * g.a_k]);
      const T* row = b + k * g.b_k;
      for (int v = 0; v < kVecs; ++v) {
        acc[0][v] = Fma(x, LoadSome(row + v * kLanes, n - v * kLanes), acc[0][v]);
      }
    }
    for (int v = 0; v < kVecs; ++v) {
      V sum = acc[0][v];
      for (int s = 1; s < kSums; ++s) sum = sum + acc[s][v];
      StoreSome(y + v * kLanes, n - v * kLanes, sum);
    }
  }

  static void RowAxpy(const GemmArgs& g) {
    const T* b = static_cast<const T*>(g.b);
    T* y = static_cast<T*>(g.y);
    int64_t j = 0;
    for (; g.n - j >= 8 * kLanes; j += 8 * kLanes) {
      AxpyColumns<8, 1>(g, b + j, y + j, 8 * kLanes);
    }
    for (; g.n - j >= 4 * kLanes; j += 4 * kLanes) {
      AxpyColumns<4, 2>(g, b + j, y + j, 4 * kLanes);
    }
    for (; g.n - j > 0; j += kLanes) {
      AxpyColumns<1, 8>(g, b + j, y + j, g.n - j < kLanes ? g.n - j : kLanes);
    }
    Finish(g, y, static_cast<const T*>(g.bias), g.n);
  }

  template <int kRows>
  static void Dots(const GemmArgs& g, const T* b, T* y) {
    const T* a = static_cast<const T*>(g.a);
    V acc[kRows][2];
    for (int r = 0; r < kRows; ++r) acc[r][0] = acc[r][1] = V(T(0));
    int64_t k = 0;
    for (; k + 2 * kLanes <= g.k; k += 2 * kLanes) {
      const V x0 = LoadVec<V>(a + k), x1 = LoadVec<V>(a + k + kLanes);
      for (int r = 0; r < kRows; ++r) {
        acc[r][0] = Fma(x0, LoadVec<V>(b + r * g.b_n + k), acc[r][0]);
        acc[r][1] = Fma(x1, LoadVec<V>(b + r * g.b_n + k + kLanes), acc[r][1]);
      }
    }
    for (; k < g.k; k += kLanes) {
      const V x = LoadSome(a + k, g.k - k);
      for (int r = 0; r < kRows; ++r) {
        acc[r][0] = Fma(x, LoadSome(b + r * g.b_n + k, g.k - k), acc[r][0]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      y[r * g.y_n] = FoldLanes(acc[r][0] + acc[r][1], [](T p, T q) { return p + q; });
    }
  }

  static void RowDot(const GemmArgs& g) {
    const T* b = static_cast<const T*>(g.b);
    T* y = static_cast<T*>(g.y);
    int64_t j = 0;
    for (; j + 4 <= g.n; j += 4) Dots<4>(g, b + j * g.b_n, y + j * g.y_n);
    for (; j < g.n; ++j) Dots<1>(g, b + j * g.b_n, y + j * g.y_n);
    if (g.y_n == 1) Finish(g, y, static_cast<const T*>(g.bias), g.n);
  }

  static void Outer(const GemmArgs& g) {
    const T *a = static_cast<const T*>(g.a), *b = static_cast<const T*>(g.b);
    for (int64_t i = 0; i < g.m; ++i) {
      const V x = V(a[i * g.a_m]);
      T* y = static_cast<T*>(g.y) + i * g.y_m;
      int64_t j = 0;
      for (; j + kLanes <= g.n; j += kLanes) Store(y + j, x * LoadVec<V>(b + j));
      if (j < g.n) StorePartial(y + j, g.n - j, x * LoadVecPartial<V>(b + j, g.n - j));
      if (g.bias != nullptr || g.activation != 0) {
        Finish(g, y, static_cast<const T*>(g.bias), g.n);
      }
    }
  }

  static constexpr GemmTable::Type kFns = {&Block, &RowAxpy, &RowDot, &Outer};
};

constexpr GemmTable MakeGemmTable() { return {Gemm<VecF32>::kFns, Gemm<VecF64>::kFns}; }

}  // namespace OSTRIA_ISA_NS
}  // namespace simd
}  // namespace ostria
