// SPDX-License-Identifier: Apache-2.0
// Softmax, cross-entropy, layer and RMS normalisation over the last axis, and weighted sums of
// rows, once per instruction set. Every row is computed by itself, so that threads may split rows
// anywhere.
#pragma once

#include "backend/cpu/simd/fold_impl.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

// Calls fn(offset, count) for whole vectors and then for the rest.
template <class V, class F>
OSTRIA_FN void ForVectors(int64_t n, F fn) {
  constexpr int kLanes = kLanesOf<V>;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) fn(i, static_cast<int64_t>(kLanes));
  if (i < n) fn(i, n - i);
}

// A bound of the row that is finite unless the row's greatest element is not: NaN does not hide it.
template <class V>
OSTRIA_FN ScalarOf<V> RowMax(const ScalarOf<V>* x, int64_t n) {
  V m = -kernels::Infinity<V>();
  ForVectors<V>(
      n, [&](int64_t i, int64_t count) __attribute__((always_inline)) {
        // Max keeps its second operand when either is NaN: the NaN itself is dropped, exp brings it
        // back.
        m = Max(LoadVecFill(x + i, count, -kernels::Infinity<V>()), m);
      });
  return ReduceMax(m);
}

// sum(exp(x - max)); writes the exponentials when y is not null.
template <class V>
OSTRIA_FN ScalarOf<V> ExpSum(const ScalarOf<V>* x, ScalarOf<V> max, ScalarOf<V>* y, int64_t n) {
  V sum = V(0);
  ForVectors<V>(
      n, [&](int64_t i, int64_t count) __attribute__((always_inline)) {
        const V e = kernels::Exp(LoadVecFill(x + i, count, -kernels::Infinity<V>()) - V(max));
        if (y != nullptr) StoreVec(y + i, count, e);
        sum = sum + e;
      });
  return ReduceAdd(sum);
}

template <class V>
void SoftmaxRows(const ScalarOf<V>* x, ScalarOf<V>* y, int64_t rows, int64_t cols) {
  using T = ScalarOf<V>;
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const V scale = V(T(1) / ExpSum<V>(x, RowMax<V>(x, cols), y, cols));
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          StoreVec(y + i, n, LoadVecUpTo<V>(y + i, n) * scale);
        });
  }
}

template <class V>
void LogSoftmaxRows(const ScalarOf<V>* x, ScalarOf<V>* y, int64_t rows, int64_t cols) {
  using T = ScalarOf<V>;
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const T max = RowMax<V>(x, cols);
    const V log = V(kernels::Log(ExpSum<V>(x, max, static_cast<T*>(nullptr), cols)));
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          StoreVec(y + i, n, (LoadVecUpTo<V>(x + i, n) - V(max)) - log);
        });
  }
}

// dx = y * (dy - sum(dy * y)); of log_softmax dx = dy - exp(y) * sum(dy).
template <bool kLog, class V>
void SoftmaxGradRows(const ScalarOf<V>* y, const ScalarOf<V>* dy, ScalarOf<V>* dx, int64_t rows,
                     int64_t cols) {
  for (int64_t r = 0; r < rows; ++r, y += cols, dy += cols, dx += cols) {
    V dot = V(0);
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          const V d = LoadVecUpTo<V>(dy + i, n);
          dot = kLog ? dot + d : Fma(d, LoadVecUpTo<V>(y + i, n), dot);
        });
    const V sum = V(ReduceAdd(dot));
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          const V d = LoadVecUpTo<V>(dy + i, n), p = LoadVecUpTo<V>(y + i, n);
          StoreVec(dx + i, n, kLog ? d - kernels::Exp(p) * sum : p * (d - sum));
        });
  }
}

template <class V>
int64_t SparseSoftmaxXent(const ScalarOf<V>* logits, const void* labels, bool wide_labels,
                          const ScalarOf<V>* dloss, ScalarOf<V>* loss, ScalarOf<V>* dlogits,
                          int64_t rows, int64_t cols) {
  using T = ScalarOf<V>;
  int64_t first_bad = -1;
  for (int64_t r = 0; r < rows; ++r) {
    const T* x = logits + r * cols;
    T* d = dlogits == nullptr ? nullptr : dlogits + r * cols;
    const int64_t label = wide_labels ? static_cast<const int64_t*>(labels)[r]
                                      : static_cast<const int32_t*>(labels)[r];
    const bool bad = label < 0 || label >= cols;
    if (bad && first_bad < 0) first_bad = r;
    const T max = RowMax<V>(x, cols), picked = bad ? kernels::NotANumber<T>() : x[label];
    const T sum = ExpSum<V>(x, max, d, cols);
    if (loss != nullptr) loss[r] = kernels::Log(sum) + (max - picked);
    if (d == nullptr) continue;
    const T upstream = dloss == nullptr ? T(1) : dloss[r];
    const V scale = V((bad ? kernels::NotANumber<T>() : upstream) / sum);
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          StoreVec(d + i, n, LoadVecUpTo<V>(d + i, n) * scale);
        });
    if (!bad) d[label] = d[label] - upstream;
  }
  return first_bad;
}

// Without centering it is RMS normalisation: the mean counts as 0.
template <bool kCenter, class V>
void LayerNormRows(const ScalarOf<V>* x, const ScalarOf<V>* gamma, const ScalarOf<V>* beta,
                   double epsilon, ScalarOf<V>* y, ScalarOf<V>* mean, ScalarOf<V>* rstd,
                   int64_t rows, int64_t cols) {
  using T = ScalarOf<V>;
  const T inverse = T(1) / static_cast<T>(cols);
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const T mu = kCenter ? FoldRange<FoldOp::kSum, V>(x, cols) * inverse : T(0);
    V square = V(0);
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          const V c = LoadVecFill(x + i, n, V(mu)) - V(mu);
          square = Fma(c, c, square);
        });
    const T variance = ReduceAdd(square) * inverse;
    const T s = T(1) / Sqrt(variance + static_cast<T>(epsilon));
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          V z = (LoadVecUpTo<V>(x + i, n) - V(mu)) * V(s);
          if (gamma != nullptr) z = z * LoadVecUpTo<V>(gamma + i, n);
          if (beta != nullptr) z = z + LoadVecUpTo<V>(beta + i, n);
          StoreVec(y + i, n, z);
        });
    if (mean != nullptr) mean[r] = mu;
    if (rstd != nullptr) rstd[r] = s;
  }
}

// dx = rstd * (h - mean(h) - xhat * mean(h * xhat)) with h = dy * gamma; without centering, mean(h)
// counts as 0.
template <bool kCenter, class V>
void LayerNormGradInput(const ScalarOf<V>* x, const ScalarOf<V>* gamma, const ScalarOf<V>* mean,
                        const ScalarOf<V>* rstd, const ScalarOf<V>* dy, ScalarOf<V>* dx,
                        int64_t rows, int64_t cols) {
  using T = ScalarOf<V>;
  const T inverse = T(1) / static_cast<T>(cols);
  for (int64_t r = 0; r < rows; ++r, x += cols, dy += cols, dx += cols) {
    const V mu = V(kCenter ? mean[r] : T(0)), s = V(rstd[r]);
    V sum = V(0), dot = V(0);
    const auto h_at = [&](int64_t i, int64_t n) __attribute__((always_inline)) {
      const V d = LoadVecUpTo<V>(dy + i, n);
      return gamma == nullptr ? d : d * LoadVecUpTo<V>(gamma + i, n);
    };
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          const V h = h_at(i, n);
          sum = sum + h;
          dot = Fma(h, (LoadVecUpTo<V>(x + i, n) - mu) * s, dot);
        });
    const V mean_h = V(kCenter ? ReduceAdd(sum) * inverse : T(0)),
            mean_dot = V(ReduceAdd(dot) * inverse);
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          const V xhat = (LoadVecUpTo<V>(x + i, n) - mu) * s;
          StoreVec(dx + i, n, s * (h_at(i, n) - mean_h - xhat * mean_dot));
        });
  }
}

// Columns [0, cols) of dgamma = sum(dy * xhat) and dbeta = sum(dy); at most kFoldColumns of them.
// Without centering there is no mean and no dbeta.
template <bool kCenter, class V>
void LayerNormGradBlock(const ScalarOf<V>* x, const ScalarOf<V>* mean, const ScalarOf<V>* rstd,
                        const ScalarOf<V>* dy, int64_t rows, int64_t cols, int64_t stride,
                        ScalarOf<V>* dgamma, ScalarOf<V>* dbeta) {
  using T = ScalarOf<V>;
  if (rows > kFoldRows) {
    const int64_t half = (rows / 2 + kFoldRows - 1) / kFoldRows * kFoldRows, skip = half * stride;
    alignas(64) T g[kFoldColumns], b[kFoldColumns];
    LayerNormGradBlock<kCenter, V>(x, mean, rstd, dy, half, cols, stride, dgamma, dbeta);
    LayerNormGradBlock<kCenter, V>(x + skip, kCenter ? mean + half : mean, rstd + half, dy + skip,
                                   rows - half, cols, stride, g, b);
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          StoreVec(dgamma + i, n, LoadVecUpTo<V>(dgamma + i, n) + LoadVecUpTo<V>(g + i, n));
          if constexpr (kCenter) {
            StoreVec(dbeta + i, n, LoadVecUpTo<V>(dbeta + i, n) + LoadVecUpTo<V>(b + i, n));
          }
        });
    return;
  }
  ForVectors<V>(
      cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        V g = V(0), b = V(0);
        for (int64_t r = 0; r < rows; ++r) {
          const V d = LoadVecUpTo<V>(dy + r * stride + i, n);
          V centered = LoadVecUpTo<V>(x + r * stride + i, n);
          if constexpr (kCenter) centered = centered - V(mean[r]);
          g = Fma(d, centered * V(rstd[r]), g);
          b = b + d;
        }
        StoreVec(dgamma + i, n, g);
        if constexpr (kCenter) StoreVec(dbeta + i, n, b);
      });
}

template <bool kCenter, class V>
void LayerNormGradParams(const ScalarOf<V>* x, const ScalarOf<V>* mean, const ScalarOf<V>* rstd,
                         const ScalarOf<V>* dy, int64_t rows, int64_t cols, int64_t stride,
                         ScalarOf<V>* dgamma, ScalarOf<V>* dbeta) {
  for (int64_t c = 0; c < cols; c += kFoldColumns) {
    const int64_t n = cols - c < kFoldColumns ? cols - c : kFoldColumns;
    LayerNormGradBlock<kCenter, V>(x + c, mean, rstd, dy + c, rows, n, stride, dgamma + c,
                                   kCenter ? dbeta + c : dbeta);
  }
}

template <class V>
void WeightedRows(const ScalarOf<V>* x, const ScalarOf<V>* weights, int64_t count, int64_t cols,
                  ScalarOf<V>* y) {
  ForVectors<V>(
      cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        V sum = V(0);
        for (int64_t r = 0; r < count; ++r) {
          sum = Fma(V(weights[r]), LoadVecUpTo<V>(x + r * cols + i, n), sum);
        }
        StoreVec(y + i, n, sum);
      });
}

template <class V>
constexpr void FillRows(DenseKernels<ScalarOf<V>>* k) {
  k->softmax = &SoftmaxRows<V>;
  k->log_softmax = &LogSoftmaxRows<V>;
  k->softmax_grad = &SoftmaxGradRows<false, V>;
  k->log_softmax_grad = &SoftmaxGradRows<true, V>;
  k->sparse_softmax_xent = &SparseSoftmaxXent<V>;
  k->layer_norm = &LayerNormRows<true, V>;
  k->layer_norm_grad_input = &LayerNormGradInput<true, V>;
  k->layer_norm_grad_params = &LayerNormGradParams<true, V>;
  k->weighted_rows = &WeightedRows<V>;
  k->rms_norm = &LayerNormRows<false, V>;
  k->rms_norm_grad_input = &LayerNormGradInput<false, V>;
  k->rms_norm_grad_params = &LayerNormGradParams<false, V>;
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
