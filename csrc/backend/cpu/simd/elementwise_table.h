// SPDX-License-Identifier: Apache-2.0
// Where the per-instruction-set tables meet the driver. Plain data only, no inline code: files
// built with AVX flags include it.
#pragma once

#include <cstdint>

#include "kernels/scalar/scalar_op.h"

namespace ostria {

/// One tile of work: `rows` x `cols`, every input advancing by 0 or 1 element along a row.
struct ElementwiseTile {
  const void* in[3];
  void* out;
  int64_t rows, cols;
  int64_t in_row[3];  // elements from one row to the next
  int64_t in_col[3];  // 0 (one value for the whole row) or 1
  int64_t out_row;    // elements
  const double* params;
};
using ElementwiseFn = void (*)(const ElementwiseTile&);

/// Functions by ScalarOp; null where the op does not exist for floats.
struct ElementwiseTable {
  ElementwiseFn f32[kernels::kNumScalarOps];
  ElementwiseFn f64[kernels::kNumScalarOps];
  // Half storage to float and back, `n` elements; [0] float16, [1] bfloat16.
  void (*from_half[2])(const uint16_t* src, float* dst, int64_t n);
  void (*to_half[2])(const float* src, uint16_t* dst, int64_t n);
};

extern const ElementwiseTable kElementwiseBaseline;
extern const ElementwiseTable kElementwiseAvx2;
extern const ElementwiseTable kElementwiseAvx512;

/// Integers and bool; `dtype` counts DType values from kBool to kUInt64. Null where undefined.
ElementwiseFn IntElementwise(kernels::ScalarOp op, int dtype);

}  // namespace ostria
