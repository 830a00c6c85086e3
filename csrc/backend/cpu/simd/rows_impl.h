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

// Work on this row while memory looks for the next one.
template <class T>
OSTRIA_FN void FetchNextRow(const T* x, int64_t cols, int64_t i) {
  __builtin_prefetch(x + cols + i, 0, 2);
}

// sum(exp(x - max)); writes the exponentials when y is not null.
template <class V>
OSTRIA_FN ScalarOf<V> ExpSum(const ScalarOf<V>* x, ScalarOf<V> max, ScalarOf<V>* y, int64_t n) {
  V sum = V(0);
  ForVectors<V>(
      n, [&](int64_t i, int64_t count) __attribute__((always_inline)) {
        FetchNextRow(x, n, i);
        const V e = kernels::Exp(LoadVecFill(x + i, count, -kernels::Infinity<V>()) - V(max));
        if (y != nullptr) StoreVec(y + i, count, e);
        sum = sum + e;
      });
  return ReduceAdd(sum);
}

// What streams meanwhile keeps its exponentials here.
inline constexpr int64_t kMostStreamedColumns = 8192;

template <bool kStream, class V>
void SoftmaxRows(const ScalarOf<V>* x, ScalarOf<V>* y, int64_t rows, int64_t cols) {
  using T = ScalarOf<V>;
  alignas(64) T row[kStream ? kMostStreamedColumns : 1];
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    T* const e = kStream ? row : y;
    const V scale = V(T(1) / ExpSum<V>(x, RowMax<V>(x, cols), e, cols));
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          Put<kStream>(y + i, n, LoadVecUpTo<V>(e + i, n) * scale);
        });
  }
}

template <bool kStream, class V>
void LogSoftmaxRows(const ScalarOf<V>* x, ScalarOf<V>* y, int64_t rows, int64_t cols) {
  using T = ScalarOf<V>;
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const T max = RowMax<V>(x, cols);
    const V log = V(kernels::Log(ExpSum<V>(x, max, static_cast<T*>(nullptr), cols)));
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          Put<kStream>(y + i, n, (LoadVecUpTo<V>(x + i, n) - V(max)) - log);
        });
  }
}

// dx = y * (dy - sum(dy * y)); of log_softmax dx = dy - exp(y) * sum(dy).
template <bool kLog, bool kStream, class V>
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
          Put<kStream>(dx + i, n, kLog ? d - kernels::Exp(p) * sum : p * (d - sum));
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
template <bool kCenter, bool kStream, class V>
void LayerNormRows(const ScalarOf<V>* x, const ScalarOf<V>* gamma, const ScalarOf<V>* beta,
                   double epsilon, ScalarOf<V>* y, ScalarOf<V>* mean, ScalarOf<V>* rstd,
                   int64_t rows, int64_t cols) {
  using T = ScalarOf<V>;
  const T inverse = T(1) / static_cast<T>(cols);
  for (int64_t r = 0; r < rows; ++r, x += cols) {
    const T mu = kCenter ? FoldRange<FoldOp::kSum, V>(x, cols) * inverse : T(0);
    T squares;
    if constexpr (kCenter) {
      V square = V(0);
      ForVectors<V>(
          cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
            FetchNextRow(x, cols, i);
            const V c = LoadVecFill(x + i, n, V(mu)) - V(mu);
            square = Fma(c, c, square);
          });
      squares = ReduceAdd(square);
    } else {
      squares = FoldRange<FoldOp::kSumSquares, V>(x, cols);
    }
    const T variance = squares * inverse;
    const T s = T(1) / Sqrt(variance + static_cast<T>(epsilon));
    if (mean != nullptr) mean[r] = mu;
    if (rstd != nullptr) rstd[r] = s;
    if (y == nullptr) continue;
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          if constexpr (!kCenter) FetchNextRow(x, cols, i);
          V z = (LoadVecUpTo<V>(x + i, n) - V(mu)) * V(s);
          if (gamma != nullptr) z = z * LoadVecUpTo<V>(gamma + i, n);
          if (beta != nullptr) z = z + LoadVecUpTo<V>(beta + i, n);
          Put<kStream>(y + i, n, z);
        });
    y += cols;
  }
}

// dx = rstd * (h - mean(h) - xhat * mean(h * xhat)) with h = dy * gamma; dgamma += sum(dy * xhat)
// and dbeta += sum(dy) over the rows. Without centering mean(h) counts as 0, and there is no dbeta.
template <bool kCenter, bool kStream, class V>
void LayerNormGradRows(const ScalarOf<V>* x, const ScalarOf<V>* gamma, const ScalarOf<V>* mean,
                       const ScalarOf<V>* rstd, const ScalarOf<V>* dy, ScalarOf<V>* dx,
                       ScalarOf<V>* dgamma, ScalarOf<V>* dbeta, int64_t rows, int64_t cols) {
  using T = ScalarOf<V>;
  const T inverse = T(1) / static_cast<T>(cols);
  for (int64_t r = 0; r < rows; ++r, x += cols, dy += cols) {
    const V mu = V(kCenter ? mean[r] : T(0)), s = V(rstd[r]);
    V sum = V(0), dot = V(0);
    const auto scaled = [&](V d, int64_t i, int64_t n) __attribute__((always_inline)) {
      return gamma == nullptr ? d : d * LoadVecUpTo<V>(gamma + i, n);
    };
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          const V d = LoadVecUpTo<V>(dy + i, n), xhat = (LoadVecUpTo<V>(x + i, n) - mu) * s;
          const V h = scaled(d, i, n);
          sum = sum + h;
          dot = Fma(h, xhat, dot);
          if (dgamma == nullptr) return;
          StoreVec(dgamma + i, n, Fma(d, xhat, LoadVecUpTo<V>(dgamma + i, n)));
          if constexpr (kCenter) StoreVec(dbeta + i, n, d + LoadVecUpTo<V>(dbeta + i, n));
        });
    if (dx == nullptr) continue;
    const V mean_h = V(kCenter ? ReduceAdd(sum) * inverse : T(0)),
            mean_dot = V(ReduceAdd(dot) * inverse);
    ForVectors<V>(
        cols, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          FetchNextRow(x, cols, i);
          FetchNextRow(dy, cols, i);
          const V xhat = (LoadVecUpTo<V>(x + i, n) - mu) * s;
          const V h = scaled(LoadVecUpTo<V>(dy + i, n), i, n);
          Put<kStream>(dx + i, n, s * (h - mean_h - xhat * mean_dot));
        });
    dx += cols;
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
void SumRows(const ScalarOf<V>* x, int64_t stride, int64_t first, const uint64_t* pairs,
             const int32_t* starts, int64_t rows, int64_t cols, ScalarOf<V>* y) {
  const auto at = [&](int64_t i) __attribute__((always_inline)) {
    return x + (static_cast<int64_t>(pairs[i] & 0xffffffffu) - first) * stride;
  };
  if (cols == 1) {
    for (int64_t r = 0; r < rows; ++r) {
      ScalarOf<V> sum = ScalarOf<V>(0) + *at(starts[r]);
      for (int64_t i = starts[r] + 1; i < starts[r + 1]; ++i) sum = sum + *at(i);
      y[r] = sum;
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r, y += cols) {
    const int64_t begin = starts[r], end = starts[r + 1];
    ForVectors<V>(
        cols, [&](int64_t c, int64_t n) __attribute__((always_inline)) {
          V sum = V(0) + LoadVecUpTo<V>(at(begin) + c, n);  // as zeros + -0 does
          for (int64_t i = begin + 1; i < end; ++i) sum = sum + LoadVecUpTo<V>(at(i) + c, n);
          StoreVec(y + c, n, sum);
        });
  }
}

// One function for both: the last argument says whether results go past the caches.
template <auto kPlain, auto kStreaming>
struct Either;
template <class... Args, void (*kPlain)(Args...), void (*kStreaming)(Args...)>
struct Either<kPlain, kStreaming> {
  static void Run(Args... args, bool stream) {
    stream ? kStreaming(args...) : kPlain(args...);
    FinishPuts(stream);
  }
};

template <class V>
constexpr void FillRows(DenseKernels<ScalarOf<V>>* k) {
  k->softmax = &Either<&SoftmaxRows<false, V>, &SoftmaxRows<true, V>>::Run;
  k->log_softmax = &Either<&LogSoftmaxRows<false, V>, &LogSoftmaxRows<true, V>>::Run;
  k->softmax_grad =
      &Either<&SoftmaxGradRows<false, false, V>, &SoftmaxGradRows<false, true, V>>::Run;
  k->log_softmax_grad =
      &Either<&SoftmaxGradRows<true, false, V>, &SoftmaxGradRows<true, true, V>>::Run;
  k->sparse_softmax_xent = &SparseSoftmaxXent<V>;
  k->layer_norm = &Either<&LayerNormRows<true, false, V>, &LayerNormRows<true, true, V>>::Run;
  k->layer_norm_grad =
      &Either<&LayerNormGradRows<true, false, V>, &LayerNormGradRows<true, true, V>>::Run;
  k->weighted_rows = &WeightedRows<V>;
  k->sum_rows = &SumRows<V>;
  k->rms_norm = &Either<&LayerNormRows<false, false, V>, &LayerNormRows<false, true, V>>::Run;
  k->rms_norm_grad =
      &Either<&LayerNormGradRows<false, false, V>, &LayerNormGradRows<false, true, V>>::Run;
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
