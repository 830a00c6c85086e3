// SPDX-License-Identifier: Apache-2.0
// Slices written to other slices, many to one: scatters and segments. Indices become keys, numbers
// of slices; those are sorted with their positions (kernels/sort), and each run of equal keys is
// walked by the threads that own the slice, in the order of the indices. No atomics, so results
// depend on nothing but the operands.
#pragma once

#include "kernels/common/divide.h"
#include "kernels/common/layout.h"
#include "kernels/rows/index.h"

namespace ostria::kernels {

/// key[e] of index e of [outer, count, inner] indices: its place in [outer, size, inner].
struct KeysParams {
  const void* indices = nullptr;
  uint32_t* keys = nullptr;
  DataErrorWord* data_error = nullptr;
  int64_t elements = 0, count = 1, inner = 1;
  IndexLaw law;
  int64_t step = 0;  // of the program, where data are bad
};
OSTRIA_LAYOUT(KeysParams, 72, indices, keys, data_error, elements, count, inner, law, step);

/// updates [outer, count, inner] into dst [outer, size, inner], slice positions[j] into keys[j].
struct RunsParams {
  const uint32_t* keys = nullptr;  // sorted
  const int32_t* positions = nullptr;
  const void* updates = nullptr;
  void* dst = nullptr;  // holds what the updates meet
  int64_t outer = 1, count = 0, size = 0, inner = 1;
  int64_t wide = 0;  // 1: numbers of elements need 64 bits
  Divisor by_inner, by_count;
};
OSTRIA_LAYOUT(RunsParams, 88, keys, positions, updates, dst, outer, count, size, inner, wide,
              by_inner, by_count);

/// scatter_copy: dst, which updates go into, begins as x.
struct ScatterCopyParams {
  const void* x = nullptr;  // may be dst
  void* dst = nullptr;
  int64_t bytes = 0;
};
OSTRIA_LAYOUT(ScatterCopyParams, 24, x, dst, bytes);

}  // namespace ostria::kernels
