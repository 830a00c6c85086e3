// SPDX-License-Identifier: Apache-2.0
// Positions of the largest or smallest elements along one axis.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

/// How elements are ordered.
enum class ArgOrder : int32_t { kSigned, kUnsigned, kFloat16, kBFloat16, kFloat32, kFloat64 };

// Memory as [outer, n, inner]: output [outer, inner] is a position in [0, n). The first of equals
// wins, and a NaN over all numbers.
struct ArgParams {
  const void* src = nullptr;
  int64_t* dst = nullptr;
  int64_t outer = 0, n = 0, inner = 0;
  ArgOrder order = ArgOrder::kSigned;
  int32_t bytes = 0;     // of an element
  int32_t smallest = 0;  // whether the smallest is wanted
  int32_t lanes = 32;    // arg_rows: threads that share a row, 32 or the block
};
OSTRIA_LAYOUT(ArgParams, 56, src, dst, outer, n, inner, order, bytes, smallest, lanes);

}  // namespace ostria::kernels
