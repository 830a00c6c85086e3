// SPDX-License-Identifier: Apache-2.0
// Elements of x [outer, size, inner] picked by indices [outer, count, inner] along the axis, each
// by one of its own: take_along_axis, and put_along_axis for tensors of many columns.
#pragma once

#include "kernels/common/divide.h"
#include "kernels/common/layout.h"
#include "kernels/rows/index.h"

namespace ostria::kernels {

struct TakeAlongParams {
  const void* x = nullptr;
  const void* indices = nullptr;
  void* dst = nullptr;  // shaped like the indices
  DataErrorWord* data_error = nullptr;
  int64_t elements = 0;  // of dst
  int64_t count = 1, inner = 1;
  IndexLaw law;
  int32_t step = 0;  // of the program, where data are bad
  int32_t wide = 0;  // 1: numbers of elements need 64 bits
  Divisor by_inner, by_count;
};
OSTRIA_LAYOUT(TakeAlongParams, 96, x, indices, dst, data_error, elements, count, inner, law, step,
              wide, by_inner, by_count);

/// A thread walks the indices of one column in order, so the last value of a place counts, and ties
/// go as on the CPU.
struct PutAlongParams {
  const void* indices = nullptr;
  const void* values = nullptr;  // shaped like the indices
  void* dst = nullptr;           // holds x
  DataErrorWord* data_error = nullptr;
  int64_t outer = 1, count = 1, inner = 1;
  IndexLaw law;
  int32_t step = 0;
  int32_t wide = 0;  // 1: numbers of columns need 64 bits
  Divisor by_inner;
};
OSTRIA_LAYOUT(PutAlongParams, 88, indices, values, dst, data_error, outer, count, inner, law, step,
              wide, by_inner);

}  // namespace ostria::kernels
