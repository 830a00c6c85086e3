// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/rows.h"

#include <atomic>

#include "backend/cpu/simd/fold.h"
#include "base/check.h"

namespace ostria {

namespace {

// Rows worth a thread: about 5 us; starting a row costs as much as 64 of its elements.
int64_t RowGrain(int64_t cols) { return std::max<int64_t>(1, 16384 / (cols + 64)); }

template <class Fn>
void ForRows(int64_t rows, int64_t cols, Fn fn) {
  ParallelFor(rows, RowGrain(cols), fn);
}

// Calls fn(first column, columns) for blocks of what sums over the rows of each column.
template <class Fn>
void ForColumns(int64_t rows, int64_t cols, Fn fn) {
  const int64_t grain = std::max<int64_t>(1, 8192 / (16 * std::max<int64_t>(1, rows)));
  ParallelFor((cols + 15) / 16, grain, [&](int64_t begin, int64_t end) {
    fn(begin * 16, std::min(end * 16, cols) - begin * 16);
  });
}

}  // namespace

template <class T>
void Softmax(const T* x, T* y, int64_t rows, int64_t cols) {
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().softmax(x + b * cols, y + b * cols, e - b, cols);
  });
}

template <class T>
void LogSoftmax(const T* x, T* y, int64_t rows, int64_t cols) {
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().log_softmax(x + b * cols, y + b * cols, e - b, cols);
  });
}

template <class T>
void SoftmaxGrad(const T* y, const T* dy, T* dx, int64_t rows, int64_t cols) {
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().softmax_grad(y + b * cols, dy + b * cols, dx + b * cols, e - b, cols);
  });
}

template <class T>
void LogSoftmaxGrad(const T* y, const T* dy, T* dx, int64_t rows, int64_t cols) {
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().log_softmax_grad(y + b * cols, dy + b * cols, dx + b * cols, e - b, cols);
  });
}

template <class T>
int64_t SparseSoftmaxCrossEntropy(const T* logits, const void* labels, DType label_dtype,
                                  const T* dloss, T* loss, T* dlogits, int64_t rows, int64_t cols) {
  OSTRIA_CHECK(label_dtype == DType::kInt32 || label_dtype == DType::kInt64);
  const bool wide = label_dtype == DType::kInt64;
  std::atomic<int64_t> first_bad{rows};
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    const void* some = static_cast<const char*>(labels) + b * (wide ? 8 : 4);
    const int64_t bad = DenseOf<T>().sparse_softmax_xent(
        logits + b * cols, some, wide, dloss == nullptr ? nullptr : dloss + b,
        loss == nullptr ? nullptr : loss + b, dlogits == nullptr ? nullptr : dlogits + b * cols,
        e - b, cols);
    if (bad < 0) return;
    int64_t seen = first_bad.load();
    while (b + bad < seen && !first_bad.compare_exchange_weak(seen, b + bad)) {
    }
  });
  return first_bad == rows ? -1 : first_bad.load();
}

template <class T>
void LayerNorm(const T* x, const T* gamma, const T* beta, double epsilon, T* y, T* mean, T* rstd,
               int64_t rows, int64_t cols) {
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().layer_norm(x + b * cols, gamma, beta, epsilon, y + b * cols,
                            mean == nullptr ? nullptr : mean + b,
                            rstd == nullptr ? nullptr : rstd + b, e - b, cols);
  });
}

template <class T>
void LayerNormGrad(const T* x, const T* gamma, const T* mean, const T* rstd, const T* dy, T* dx,
                   T* dgamma, T* dbeta, int64_t rows, int64_t cols) {
  if (dgamma != nullptr) {
    ForColumns(rows, cols, [&](int64_t c, int64_t n) {
      DenseOf<T>().layer_norm_grad_params(x + c, mean, rstd, dy + c, rows, n, cols, dgamma + c,
                                          dbeta + c);
    });
  }
  if (dx == nullptr) return;
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().layer_norm_grad_input(x + b * cols, gamma, mean + b, rstd + b, dy + b * cols,
                                       dx + b * cols, e - b, cols);
  });
}

template <class T>
void RmsNorm(const T* x, const T* gamma, double epsilon, T* y, T* rstd, int64_t rows,
             int64_t cols) {
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().rms_norm(x + b * cols, gamma, nullptr, epsilon, y + b * cols, nullptr, rstd + b,
                          e - b, cols);
  });
}

template <class T>
void RmsNormGrad(const T* x, const T* gamma, const T* rstd, const T* dy, T* dx, T* dgamma,
                 int64_t rows, int64_t cols) {
  ForColumns(rows, cols, [&](int64_t c, int64_t n) {
    DenseOf<T>().rms_norm_grad_params(x + c, nullptr, rstd, dy + c, rows, n, cols, dgamma + c,
                                      nullptr);
  });
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().rms_norm_grad_input(x + b * cols, gamma, nullptr, rstd + b, dy + b * cols,
                                     dx + b * cols, e - b, cols);
  });
}

template <class T>
void ColumnSums(const T* x, int64_t rows, int64_t cols, T* out) {
  FoldRowsToColumns(FoldOp::kSum, x, rows, cols, out);
}

template <class T>
T SumOfSquares(const T* x, int64_t n) {
  return FoldAll(FoldOp::kSumSquares, x, n);
}

template <class T>
bool AllFinite(const T* x, int64_t n) {
  std::atomic<bool> finite{true};
  ParallelFor(n, kFoldPiece, [&](int64_t b, int64_t e) {
    if (!DenseOf<T>().all_finite(x + b, e - b)) finite.store(false, std::memory_order_relaxed);
  });
  return finite;
}

#define OSTRIA_INSTANTIATE(T)                                                                     \
  template void Softmax<T>(const T*, T*, int64_t, int64_t);                                       \
  template void LogSoftmax<T>(const T*, T*, int64_t, int64_t);                                    \
  template void SoftmaxGrad<T>(const T*, const T*, T*, int64_t, int64_t);                         \
  template void LogSoftmaxGrad<T>(const T*, const T*, T*, int64_t, int64_t);                      \
  template int64_t SparseSoftmaxCrossEntropy<T>(const T*, const void*, DType, const T*, T*, T*,   \
                                                int64_t, int64_t);                                \
  template void LayerNorm<T>(const T*, const T*, const T*, double, T*, T*, T*, int64_t, int64_t); \
  template void LayerNormGrad<T>(const T*, const T*, const T*, const T*, const T*, T*, T*, T*,    \
                                 int64_t, int64_t);                                               \
  template void RmsNorm<T>(const T*, const T*, double, T*, T*, int64_t, int64_t);                 \
  template void RmsNormGrad<T>(const T*, const T*, const T*, const T*, T*, T*, int64_t, int64_t); \
  template void ColumnSums<T>(const T*, int64_t, int64_t, T*);                                    \
  template T SumOfSquares<T>(const T*, int64_t);                                                  \
  template bool AllFinite<T>(const T*, int64_t);
OSTRIA_INSTANTIATE(float)
OSTRIA_INSTANTIATE(double)
#undef OSTRIA_INSTANTIATE

}  // namespace ostria
