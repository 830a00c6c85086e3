// SPDX-License-Identifier: Apache-2.0
// Small products whose operands are read in place: c[m, n] (+)= sum over k of a[m, k] b[k, n], with
// any strides of a, rows of b and c contiguous. For attention's blocks, which stay in cache; k is
// added up in order. Include only from files that are compiled once per instruction set.
#pragma once

#include "backend/cpu/simd/pack.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

template <class T>
struct TileArgs {
  const T* a;
  int64_t a_m, a_k;
  const T* b;
  int64_t b_k;
  T* c;
  int64_t c_m;
  int64_t m, n, k;
  bool add;  // to what c holds
};

template <class V>
struct Tile {
  using T = ScalarOf<V>;
  static constexpr int64_t kLanes = kLanesOf<V>;
  // 32 registers of AVX-512 hold 24 sums, the 16 of others 12.
  static constexpr int kWide = OSTRIA_SIMD_ISA == 2 ? 4 : 2;

  static constexpr int RowsOf(int vectors) {
    return vectors > 2 ? 6 : OSTRIA_SIMD_ISA == 2 ? 8 : 6;
  }

  template <int kRows, int kVecs, bool kTail>
  static void Micro(const TileArgs<T>& t, const T* a, const T* b, T* c, int64_t tail) {
    V acc[kRows][kVecs];
    for (int i = 0; i < kRows; ++i) {
      for (int v = 0; v < kVecs; ++v) acc[i][v] = V(T(0));
    }
    for (int64_t k = 0; k < t.k; ++k, a += t.a_k, b += t.b_k) {
      V row[kVecs];
      for (int v = 0; v < kVecs; ++v) {
        row[v] = kTail && v == kVecs - 1 ? LoadVecPartial<V>(b + v * kLanes, tail)
                                         : LoadVec<V>(b + v * kLanes);
      }
      for (int i = 0; i < kRows; ++i) {
        const V x = V(a[i * t.a_m]);
        for (int v = 0; v < kVecs; ++v) acc[i][v] = Fma(x, row[v], acc[i][v]);
      }
    }
    for (int i = 0; i < kRows; ++i) {
      for (int v = 0; v < kVecs; ++v) {
        T* at = c + i * t.c_m + v * kLanes;
        if (kTail && v == kVecs - 1) {
          if (t.add) acc[i][v] = acc[i][v] + LoadVecPartial<V>(at, tail);
          StorePartial(at, tail, acc[i][v]);
        } else {
          if (t.add) acc[i][v] = acc[i][v] + LoadVec<V>(at);
          Store(at, acc[i][v]);
        }
      }
    }
  }

  // One panel of kVecs vectors of columns; `tail` of 0: the last one is whole.
  template <int kVecs, bool kTail>
  static void Panel(const TileArgs<T>& t, int64_t j0, int64_t tail) {
    constexpr int kRows = RowsOf(kVecs);
    int64_t i = 0;
    const auto rows = [&]<int kCount>() {
      for (; i + kCount <= t.m; i += kCount) {
        Micro<kCount, kVecs, kTail>(t, t.a + i * t.a_m, t.b + j0, t.c + i * t.c_m + j0, tail);
      }
    };
    rows.template operator()<kRows>();
    rows.template operator()<4>();
    rows.template operator()<2>();
    rows.template operator()<1>();
  }

  template <int kVecs>
  static void LastPanel(const TileArgs<T>& t, int64_t j0) {
    const int64_t tail = t.n - j0 - (kVecs - 1) * kLanes;
    tail == kLanes ? Panel<kVecs, false>(t, j0, 0) : Panel<kVecs, true>(t, j0, tail);
  }

  static void Product(const TileArgs<T>& t) {
    int64_t j = 0;
    for (; t.n - j >= kWide * kLanes; j += kWide * kLanes) Panel<kWide, false>(t, j, 0);
    if (j >= t.n) return;
    switch ((t.n - j + kLanes - 1) / kLanes) {
      case 1: return LastPanel<1>(t, j);
      case 2: return LastPanel<2>(t, j);
      case 3:
        if constexpr (kWide > 2) return LastPanel<3>(t, j);
        return;
      default:
        if constexpr (kWide > 3) return LastPanel<4>(t, j);
        return;
    }
  }
};

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
