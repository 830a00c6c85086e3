// SPDX-License-Identifier: Apache-2.0
// Our own matrix products, one table per instruction set: a packed block product for any strides,
// row vector times matrix, and outer product. Plain data only: files built with AVX flags include
// it. All of them add up k in order, so a result does not depend on how rows and columns are split
// among threads.
#pragma once

#include <cstdint>

namespace ostria {

/// y[m, n] = activation(sum over k of a[m, k] b[k, n] + bias[n]); strides in elements.
struct GemmArgs {
  const void *a, *b, *bias;  // bias: null, or n values
  void* y;
  int64_t m, n, k;
  int64_t a_m, a_k, b_k, b_n, y_m, y_n;
  int activation;  // of ops::Activation
};
using GemmFn = void (*)(const GemmArgs&);

/// Rows and columns of y that one call of `block` should get: what its packed operands are sized
/// for.
inline constexpr int64_t kGemmRows = 60, kGemmCols = 64, kGemmDepth = 128;

struct GemmTable {
  struct Type {
    GemmFn block;     // m <= kGemmRows, n <= kGemmCols
    GemmFn row_axpy;  // m == 1, b_n == 1, y_n == 1
    GemmFn row_dot;   // m == 1, b_k == 1, a_k == 1
    GemmFn outer;     // k == 1, b_n == 1, y_n == 1
  };
  Type f32, f64;
};

extern const GemmTable kGemmBaseline, kGemmAvx2, kGemmAvx512;

}  // namespace ostria
