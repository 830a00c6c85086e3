// SPDX-License-Identifier: Apache-2.0
// Threads around DenseKernels::fold and fold_columns. Both cut work by size alone, so the result is
// the same for any number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cpu/simd/dense_table.h"
#include "base/parallel.h"

namespace ostria {

inline constexpr int64_t kFoldPiece = 32768;  // elements worth a thread
inline constexpr int64_t kMaxPieces = 64;

/// One value from n elements.
template <class T>
T FoldAll(FoldOp op, const T* x, int64_t n) {
  const auto& k = DenseOf<T>();
  const auto fold = k.fold[static_cast<int>(op)];
  if (n <= kFoldPiece) return fold(x, n);
  const int64_t piece = std::max(kFoldPiece / 2, (n / kMaxPieces / 1024 + 1) * 1024);
  const int64_t count = (n + piece - 1) / piece;
  T partial[kMaxPieces];
  ParallelFor(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      partial[i] = fold(x + i * piece, std::min(piece, n - i * piece));
  });
  const FoldOp join = op == FoldOp::kSumSquares ? FoldOp::kSum : op;
  return k.fold[static_cast<int>(join)](partial, count);
}

/// out[c] from x[r * cols + c].
template <class T>
void FoldRowsToColumns(FoldOp op, const T* x, int64_t rows, int64_t cols, T* out) {
  const auto& k = DenseOf<T>();
  const auto fold = k.fold_columns[static_cast<int>(op)];
  constexpr int64_t kNarrow = 64;  // columns: below, threads share rows instead
  if (rows * cols <= kFoldPiece) return fold(x, rows, cols, cols, out);
  if (cols > kNarrow) {
    const int64_t blocks = (cols + 15) / 16;  // a cache line of floats
    const int64_t grain = std::max<int64_t>(1, kFoldPiece / 2 / (16 * rows));
    ParallelFor(blocks, grain, [&](int64_t begin, int64_t end) {
      const int64_t c = begin * 16, n = std::min(end * 16, cols) - c;
      fold(x + c, rows, n, cols, out + c);
    });
    return;
  }
  const int64_t least = std::max(kFoldPiece / 2 / cols, rows / kMaxPieces + 1);
  const int64_t piece = (least + 127) / 128 * 128, count = (rows + piece - 1) / piece;
  T partial[kMaxPieces * kNarrow];
  ParallelFor(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      fold(x + i * piece * cols, std::min(piece, rows - i * piece), cols, cols, partial + i * cols);
    }
  });
  const FoldOp join = op == FoldOp::kSumSquares ? FoldOp::kSum : op;
  k.fold_columns[static_cast<int>(join)](partial, count, cols, cols, out);
}

}  // namespace ostria
