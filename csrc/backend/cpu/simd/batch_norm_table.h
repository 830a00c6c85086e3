// SPDX-License-Identifier: Apache-2.0
// Loops of batch normalisation over dense [rows, cols], one table per instruction set;
// kernels_norm.cpp adds threads. Plain data only: files built with AVX flags include it.
#pragma once

#include <cstdint>

namespace ostria {

template <class T>
struct BatchNormKernels {
  // out[c] = sum over rows of x, or of (x - mean)^2 when mean is not null.
  void (*sums)(const T* x, const T* mean, int64_t rows, int64_t cols, T* out);
  // sum_g[c] = sum of g, sum_gx[c] = sum of g (x - mean).
  void (*grad_sums)(const T* g, const T* x, const T* mean, int64_t rows, int64_t cols, T* sum_g,
                    T* sum_gx);
  // y = (x - mean) factor + bias
  void (*apply)(const T* x, const T* mean, const T* factor, const T* bias, T* y, int64_t rows,
                int64_t cols);
  // dx = g a + (x - mean) b + c
  void (*apply_grad)(const T* g, const T* x, const T* mean, const T* a, const T* b, const T* c,
                     T* dx, int64_t rows, int64_t cols);
};
struct BatchNormTable {
  BatchNormKernels<float> f32;
  BatchNormKernels<double> f64;
};
extern const BatchNormTable kBatchNormBaseline, kBatchNormAvx2, kBatchNormAvx512;

}  // namespace ostria
