// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/rows.h"

#include <algorithm>
#include <atomic>
#include <initializer_list>

#include "backend/cpu/simd/copy.h"
#include "backend/cpu/simd/fold.h"
#include "base/check.h"

namespace ostria {

namespace {

// Rows worth a thread: about 5 us; starting a row costs as much as 64 of its elements.
int64_t RowGrain(int64_t cols) { return std::max<int64_t>(1, 16384 / (cols + 64)); }

template <class T>
T* From(T* p, int64_t offset) {
  return p == nullptr ? p : p + offset;
}

template <class Fn>
void ForRows(int64_t rows, int64_t cols, Fn fn) {
  ParallelFor(rows, RowGrain(cols), fn);
}

// Results that no cache would hold until they are read go past the caches, without memory being
// read first to be overwritten.
template <class T>
bool Streams(const T* out, int64_t rows, int64_t cols, std::initializer_list<const T*> inputs) {
  constexpr int64_t kLine = 64, kMostColumns = 8192;
  const int64_t row_bytes = cols * static_cast<int64_t>(sizeof(T));
  return rows * row_bytes >= kPastCachesBytes && row_bytes % kLine == 0 && cols <= kMostColumns &&
         reinterpret_cast<uintptr_t>(out) % kLine == 0 &&
         std::find(inputs.begin(), inputs.end(), out) == inputs.end();
}

// Pieces of rows that have sums of their own over the columns; by size alone.
int64_t GradPieces(int64_t rows, int64_t cols) {
  constexpr int64_t kPiece = 16384, kMostPieces = 64;
  return std::clamp<int64_t>(rows * cols / kPiece, 1, std::clamp<int64_t>(rows, 1, kMostPieces));
}

// Calls fn(first row, rows, sums) for every piece, whose sums are `width` zeros, and adds them up.
template <class T, class Fn>
void ForGradPieces(int64_t rows, int64_t cols, int64_t width, T* sums, Fn fn) {
  const int64_t pieces = GradPieces(rows, cols);
  ParallelFor(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = rows * p / pieces;
      std::fill_n(sums + p * width, width, T(0));
      fn(first, rows * (p + 1) / pieces - first, sums + p * width);
    }
  });
}

}  // namespace

template <class T>
void Softmax(const T* x, T* y, int64_t rows, int64_t cols) {
  constexpr bool stream = false;  // measured: a row of exponentials kept apart costs more
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().softmax(x + b * cols, y + b * cols, e - b, cols, stream);
  });
}

template <class T>
void LogSoftmax(const T* x, T* y, int64_t rows, int64_t cols) {
  const bool stream = Streams(y, rows, cols, {x});
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().log_softmax(x + b * cols, y + b * cols, e - b, cols, stream);
  });
}

template <class T>
void SoftmaxGrad(const T* y, const T* dy, T* dx, int64_t rows, int64_t cols) {
  const bool stream = Streams(dx, rows, cols, {y, dy});
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().softmax_grad(y + b * cols, dy + b * cols, dx + b * cols, e - b, cols, stream);
  });
}

template <class T>
void LogSoftmaxGrad(const T* y, const T* dy, T* dx, int64_t rows, int64_t cols) {
  const bool stream = Streams(dx, rows, cols, {y, dy});
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().log_softmax_grad(y + b * cols, dy + b * cols, dx + b * cols, e - b, cols, stream);
  });
}

template <class T>
int64_t SparseSoftmaxCrossEntropy(const T* logits, const void* labels, DType label_dtype,
                                  const T* dloss, T* loss, T* dlogits, int64_t rows, int64_t cols,
                                  int64_t stride) {
  OSTRIA_CHECK(label_dtype == DType::kInt32 || label_dtype == DType::kInt64);
  const bool wide = label_dtype == DType::kInt64;
  std::atomic<int64_t> first_bad{rows};
  const auto run = [&](int64_t b, int64_t e) {
    const void* some = static_cast<const char*>(labels) + b * (wide ? 8 : 4);
    const int64_t bad =
        DenseOf<T>().sparse_softmax_xent(logits + b * stride, some, wide, From(dloss, b),
                                         From(loss, b), From(dlogits, b * stride), e - b, cols);
    if (bad < 0) return;
    int64_t seen = first_bad.load();
    while (b + bad < seen && !first_bad.compare_exchange_weak(seen, b + bad)) {
    }
  };
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    if (stride == cols) return run(b, e);
    for (int64_t r = b; r < e; ++r) {
      run(r, r + 1);
      if (dlogits != nullptr) std::fill_n(dlogits + r * stride + cols, stride - cols, T(0));
    }
  });
  return first_bad == rows ? -1 : first_bad.load();
}

template <class T>
void LayerNorm(const T* x, const T* gamma, const T* beta, double epsilon, T* y, T* mean, T* rstd,
               int64_t rows, int64_t cols) {
  const bool stream = Streams(y, rows, cols, {x});
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().layer_norm(x + b * cols, gamma, beta, epsilon, From(y, b * cols), From(mean, b),
                            From(rstd, b), e - b, cols, stream);
  });
}

template <class T>
void LayerNormGrad(const T* x, const T* gamma, const T* mean, const T* rstd, const T* dy, T* dx,
                   T* dgamma, T* dbeta, int64_t rows, int64_t cols, T* sums) {
  const bool stream = Streams(dx, rows, cols, {x, dy});
  const int64_t width = 2 * cols;
  ForGradPieces(rows, cols, width, sums, [&](int64_t b, int64_t n, T* mine) {
    DenseOf<T>().layer_norm_grad(x + b * cols, gamma, mean + b, rstd + b, dy + b * cols,
                                 From(dx, b * cols), mine, mine + cols, n, cols, stream);
  });
  const auto add_up = DenseOf<T>().fold_columns[static_cast<int>(FoldOp::kSum)];
  add_up(sums, GradPieces(rows, cols), cols, width, dgamma);
  add_up(sums + cols, GradPieces(rows, cols), cols, width, dbeta);
}

template <class T>
void RmsNorm(const T* x, const T* gamma, double epsilon, T* y, T* rstd, int64_t rows,
             int64_t cols) {
  const bool stream = Streams(y, rows, cols, {x});
  ForRows(rows, cols, [&](int64_t b, int64_t e) {
    DenseOf<T>().rms_norm(x + b * cols, gamma, nullptr, epsilon, From(y, b * cols), nullptr,
                          From(rstd, b), e - b, cols, stream);
  });
}

template <class T>
void RmsNormGrad(const T* x, const T* gamma, const T* rstd, const T* dy, T* dx, T* dgamma,
                 int64_t rows, int64_t cols, T* sums) {
  const bool stream = Streams(dx, rows, cols, {x, dy});
  ForGradPieces(rows, cols, cols, sums, [&](int64_t b, int64_t n, T* mine) {
    DenseOf<T>().rms_norm_grad(x + b * cols, gamma, nullptr, rstd + b, dy + b * cols,
                               From(dx, b * cols), mine, nullptr, n, cols, stream);
  });
  DenseOf<T>().fold_columns[static_cast<int>(FoldOp::kSum)](sums, GradPieces(rows, cols), cols,
                                                            cols, dgamma);
}

int64_t NormGradSums(int64_t rows, int64_t cols) { return 2 * cols * GradPieces(rows, cols); }

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
                                                int64_t, int64_t, int64_t);                       \
  template void LayerNorm<T>(const T*, const T*, const T*, double, T*, T*, T*, int64_t, int64_t); \
  template void LayerNormGrad<T>(const T*, const T*, const T*, const T*, const T*, T*, T*, T*,    \
                                 int64_t, int64_t, T*);                                           \
  template void RmsNorm<T>(const T*, const T*, double, T*, T*, int64_t, int64_t);                 \
  template void RmsNormGrad<T>(const T*, const T*, const T*, const T*, T*, T*, int64_t, int64_t,  \
                               T*);                                                               \
  template void ColumnSums<T>(const T*, int64_t, int64_t, T*);                                    \
  template T SumOfSquares<T>(const T*, int64_t);                                                  \
  template bool AllFinite<T>(const T*, int64_t);
OSTRIA_INSTANTIATE(float)
OSTRIA_INSTANTIATE(double)
#undef OSTRIA_INSTANTIATE

}  // namespace ostria
