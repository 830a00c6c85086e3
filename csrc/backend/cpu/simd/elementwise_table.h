// SPDX-License-Identifier: Apache-2.0
// Where the per-instruction-set tables meet the driver. Plain data only, no inline code: files
// built with AVX flags include it.
#pragma once

#include <cstdint>
#include <iterator>

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

/// Two cheap functions in one loop, with the bits of one after the other:
/// second(first(a, b), c), or second(c, first(a, b)) where it is swapped.
inline constexpr kernels::ScalarOp kPairOps[] = {
    kernels::ScalarOp::kMultiply, kernels::ScalarOp::kAdd, kernels::ScalarOp::kSubtract};
inline constexpr int kNumPairs = 12;
/// first, second and swapped as an index, -1 where there is no such pair.
constexpr int PairIndex(kernels::ScalarOp first, kernels::ScalarOp second, bool swapped) {
  constexpr int kOps = static_cast<int>(std::size(kPairOps));
  int i = 0, j = 0;
  while (i < kOps && kPairOps[i] != first) ++i;
  while (j < kOps && kPairOps[j] != second) ++j;
  if (i == kOps || j == kOps) return -1;
  return i * (kOps + 1) + (swapped && second == kernels::ScalarOp::kSubtract ? kOps : j);
}

/// Functions by ScalarOp; null where the op does not exist for floats.
struct ElementwiseTable {
  ElementwiseFn f32[kernels::kNumScalarOps];
  ElementwiseFn f64[kernels::kNumScalarOps];
  ElementwiseFn pair_f32[kNumPairs];
  ElementwiseFn pair_f64[kNumPairs];
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
