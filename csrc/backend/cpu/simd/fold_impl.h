// SPDX-License-Identifier: Apache-2.0
// Reductions of a range to one value and of rows to columns, once per instruction set. Sums are
// pairwise above blocks of fixed size, so results depend on sizes only, never on threads.
#pragma once

#include "backend/cpu/simd/dense_table.h"
#include "backend/cpu/simd/pack.h"
#include "kernels/scalar/functors.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

template <FoldOp op>
struct Fold {
  template <class V>
  static OSTRIA_FN V Map(V x) {
    if constexpr (op == FoldOp::kSumSquares) {
      return x * x;
    } else {
      return x;
    }
  }
  template <class V>
  static OSTRIA_FN V Join(V a, V b) {
    if constexpr (op == FoldOp::kProd) {
      return a * b;
    } else if constexpr (op == FoldOp::kMax) {
      return kernels::Maximum(a, b);
    } else if constexpr (op == FoldOp::kMin) {
      return kernels::Minimum(a, b);
    } else {
      return a + b;
    }
  }
  template <class V>
  static OSTRIA_FN V Identity() {
    if constexpr (op == FoldOp::kProd) return V(1);
    if constexpr (op == FoldOp::kMax) return -kernels::Infinity<V>();
    if constexpr (op == FoldOp::kMin) return kernels::Infinity<V>();
    return V(0);
  }
  template <class V>
  static OSTRIA_FN ScalarOf<V> Lanes(V a) {
    if constexpr (op == FoldOp::kSum || op == FoldOp::kSumSquares) {
      return ReduceAdd(a);
    } else {
      using T = ScalarOf<V>;
      return FoldLanes(
          a, [](T x, T y) __attribute__((always_inline)) { return Join(x, y); });
    }
  }
};

inline constexpr int64_t kFoldBlock = 1024;   // elements summed in lanes before pairing
inline constexpr int64_t kFoldRows = 128;     // rows summed in order before pairing
inline constexpr int64_t kFoldColumns = 512;  // columns whose partial sums stay in level-1 cache

template <FoldOp op, class V>
ScalarOf<V> FoldRange(const ScalarOf<V>* x, int64_t n) {
  using F = Fold<op>;
  constexpr int kLanes = kLanesOf<V>;
  if (n > kFoldBlock) {
    const int64_t half = (n / 2 + kFoldBlock - 1) / kFoldBlock * kFoldBlock;
    return F::Join(FoldRange<op, V>(x, half), FoldRange<op, V>(x + half, n - half));
  }
  V a0 = F::template Identity<V>(), a1 = a0, a2 = a0, a3 = a0;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a0 = F::Join(a0, F::Map(LoadVec<V>(x + i)));
    a1 = F::Join(a1, F::Map(LoadVec<V>(x + i + kLanes)));
    a2 = F::Join(a2, F::Map(LoadVec<V>(x + i + 2 * kLanes)));
    a3 = F::Join(a3, F::Map(LoadVec<V>(x + i + 3 * kLanes)));
  }
  for (; i + kLanes <= n; i += kLanes) a0 = F::Join(a0, F::Map(LoadVec<V>(x + i)));
  // 0 * 0 = 0 and 1 * 1 = 1: an identity survives Map.
  if (i < n) a1 = F::Join(a1, F::Map(LoadVecFill(x + i, n - i, F::template Identity<V>())));
  return F::Lanes(F::Join(F::Join(a0, a1), F::Join(a2, a3)));
}

template <class V>
ScalarOf<V> Dot(const ScalarOf<V>* x, const ScalarOf<V>* y, int64_t n) {
  constexpr int kLanes = kLanesOf<V>;
  if (n > kFoldBlock) {
    const int64_t half = (n / 2 + kFoldBlock - 1) / kFoldBlock * kFoldBlock;
    return Dot<V>(x, y, half) + Dot<V>(x + half, y + half, n - half);
  }
  V a0 = V(0), a1 = a0, a2 = a0, a3 = a0;
  int64_t i = 0;
  const auto at = [&](int64_t k) __attribute__((always_inline)) {
    return LoadVec<V>(x + i + k * kLanes) * LoadVec<V>(y + i + k * kLanes);
  };
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a0 = a0 + at(0);
    a1 = a1 + at(1);
    a2 = a2 + at(2);
    a3 = a3 + at(3);
  }
  for (; i + kLanes <= n; i += kLanes) a0 = a0 + at(0);
  if (i < n) a1 = a1 + LoadVecFill(x + i, n - i, V(0)) * LoadVecFill(y + i, n - i, V(0));
  return ReduceAdd((a0 + a1) + (a2 + a3));
}

template <FoldOp op, class V>
void FoldColumnBlock(const ScalarOf<V>* x, int64_t rows, int64_t cols, int64_t stride,
                     ScalarOf<V>* out) {
  using F = Fold<op>;
  using T = ScalarOf<V>;
  constexpr int kLanes = kLanesOf<V>;
  if (rows > kFoldRows) {
    const int64_t half = (rows / 2 + kFoldRows - 1) / kFoldRows * kFoldRows;
    alignas(64) T other[kFoldColumns];
    FoldColumnBlock<op, V>(x, half, cols, stride, out);
    FoldColumnBlock<op, V>(x + half * stride, rows - half, cols, stride, other);
    for (int64_t c = 0; c < cols; c += kLanes) {
      const int64_t n = cols - c;
      StoreVec(out + c, n, F::Join(LoadVecUpTo<V>(out + c, n), LoadVecUpTo<V>(other + c, n)));
    }
    return;
  }
  for (int64_t c = 0; c < cols; c += kLanes) StoreVec(out + c, cols - c, F::template Identity<V>());
  int64_t r = 0;
  for (; r + 8 <= rows; r += 8) {
    const T* p = x + r * stride;
    for (int64_t c = 0; c < cols; c += kLanes) {
      const int64_t n = cols - c;
      const auto at = [&](int64_t k) __attribute__((always_inline)) {
        return F::Map(LoadVecUpTo<V>(p + k * stride + c, n));
      };
      const V low = F::Join(F::Join(at(0), at(1)), F::Join(at(2), at(3)));
      const V high = F::Join(F::Join(at(4), at(5)), F::Join(at(6), at(7)));
      StoreVec(out + c, n, F::Join(LoadVecUpTo<V>(out + c, n), F::Join(low, high)));
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < cols; c += kLanes) {
      const int64_t n = cols - c;
      const V row = F::Map(LoadVecUpTo<V>(x + r * stride + c, n));
      StoreVec(out + c, n, F::Join(LoadVecUpTo<V>(out + c, n), row));
    }
  }
}

template <FoldOp op, class V>
void FoldColumns(const ScalarOf<V>* x, int64_t rows, int64_t cols, int64_t stride,
                 ScalarOf<V>* out) {
  for (int64_t c = 0; c < cols; c += kFoldColumns) {
    const int64_t n = cols - c < kFoldColumns ? cols - c : kFoldColumns;
    FoldColumnBlock<op, V>(x + c, rows, n, stride, out + c);
  }
}

template <class V>
bool AllFinite(const ScalarOf<V>* x, int64_t n) {
  constexpr int kLanes = kLanesOf<V>;
  const V zero = V(0);  // 0 * x is NaN exactly for what is not finite
  V a0 = zero, a1 = zero, a2 = zero, a3 = zero;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a0 = Fma(LoadVec<V>(x + i), zero, a0);
    a1 = Fma(LoadVec<V>(x + i + kLanes), zero, a1);
    a2 = Fma(LoadVec<V>(x + i + 2 * kLanes), zero, a2);
    a3 = Fma(LoadVec<V>(x + i + 3 * kLanes), zero, a3);
  }
  for (; i < n; i += kLanes) a0 = Fma(LoadVecUpTo<V>(x + i, n - i), zero, a0);
  const V sum = (a0 + a1) + (a2 + a3);
  return !Any(sum != sum);
}

template <class V>
constexpr void FillFolds(DenseKernels<ScalarOf<V>>* k) {
  k->fold[0] = &FoldRange<FoldOp::kSum, V>;
  k->fold[1] = &FoldRange<FoldOp::kProd, V>;
  k->fold[2] = &FoldRange<FoldOp::kMax, V>;
  k->fold[3] = &FoldRange<FoldOp::kMin, V>;
  k->fold[4] = &FoldRange<FoldOp::kSumSquares, V>;
  k->dot = &Dot<V>;
  k->fold_columns[0] = &FoldColumns<FoldOp::kSum, V>;
  k->fold_columns[1] = &FoldColumns<FoldOp::kProd, V>;
  k->fold_columns[2] = &FoldColumns<FoldOp::kMax, V>;
  k->fold_columns[3] = &FoldColumns<FoldOp::kMin, V>;
  k->fold_columns[4] = &FoldColumns<FoldOp::kSumSquares, V>;
  k->all_finite = &AllFinite<V>;
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
