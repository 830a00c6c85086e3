// SPDX-License-Identifier: Apache-2.0
// Softmax, cross-entropy, layer and RMS normalisation over the last axis of dense [rows, cols], and
// sums over the rows. T is float or double. Threads split rows or columns; results never depend on
// how many.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace ostria {

/// In place is fine (y == x).
template <class T>
void Softmax(const T* x, T* y, int64_t rows, int64_t cols);
template <class T>
void LogSoftmax(const T* x, T* y, int64_t rows, int64_t cols);
/// dx = y * (dy - sum(dy * y)) from the softmax y; dx may be dy or y.
template <class T>
void SoftmaxGrad(const T* y, const T* dy, T* dx, int64_t rows, int64_t cols);
/// dx = dy - exp(y) * sum(dy) from the log_softmax y; dx may be dy or y.
template <class T>
void LogSoftmaxGrad(const T* y, const T* dy, T* dx, int64_t rows, int64_t cols);

/// loss[r] = logsumexp(logits[r]) - logits[r, labels[r]]; dlogits = (softmax - onehot) * dloss[r].
/// labels: int32 or int64 [rows]. Null loss, dlogits: not wanted; null dloss: 1. A label outside
/// [0, cols) makes that row's results NaN; returns the first such row, or -1. dlogits may be
/// logits. Rows of both begin `stride` elements apart; behind `cols` dlogits gets zeros.
template <class T>
int64_t SparseSoftmaxCrossEntropy(const T* logits, const void* labels, DType label_dtype,
                                  const T* dloss, T* loss, T* dlogits, int64_t rows, int64_t cols,
                                  int64_t stride);

/// y = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(variance + epsilon). gamma, beta [cols]
/// and y, mean, rstd [rows] may be null.
template <class T>
void LayerNorm(const T* x, const T* gamma, const T* beta, double epsilon, T* y, T* mean, T* rstd,
               int64_t rows, int64_t cols);
/// dx may be null, or dy; gamma null means ones. `sums`: NormGradSums(rows, cols) elements of
/// memory.
template <class T>
void LayerNormGrad(const T* x, const T* gamma, const T* mean, const T* rstd, const T* dy, T* dx,
                   T* dgamma, T* dbeta, int64_t rows, int64_t cols, T* sums);
int64_t NormGradSums(int64_t rows, int64_t cols);

/// y = x * rstd * gamma, rstd = 1 / sqrt(mean(x^2) + epsilon); all of them [rows, cols], [cols] or
/// [rows]. y and rstd may be null.
template <class T>
void RmsNorm(const T* x, const T* gamma, double epsilon, T* y, T* rstd, int64_t rows, int64_t cols);
/// As LayerNormGrad.
template <class T>
void RmsNormGrad(const T* x, const T* gamma, const T* rstd, const T* dy, T* dx, T* dgamma,
                 int64_t rows, int64_t cols, T* sums);

/// out[c] = sum over r of x[r, c]: the gradient of a bias.
template <class T>
void ColumnSums(const T* x, int64_t rows, int64_t cols, T* out);
/// Sum of squares and finiteness of a range, e.g. a gradient arena.
template <class T>
T SumOfSquares(const T* x, int64_t n);
template <class T>
bool AllFinite(const T* x, int64_t n);

}  // namespace ostria
