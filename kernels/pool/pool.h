// SPDX-License-Identifier: Apache-2.0
// Pools and their gradients, and interpolation along an axis; results of fewer than 2^32 elements.
#pragma once

#include "kernels/common/layout.h"
#include "kernels/common/window.h"

namespace ostria::kernels {

struct PoolParams {
  const void* src = nullptr;  // the image, or the gradient of the result
  void* dst = nullptr;
  void* index = nullptr;  // of max pools: where in its window each maximum lies; may be null
  WindowShape window;
  int32_t wide_index = 0;  // 1: int32, 0: uint8
  int32_t unused = 0;
};
OSTRIA_LAYOUT(PoolParams, 120, src, dst, index, window, wide_index, unused);

/// y[o, i] = sum over t < count[i] of weights[i * width + t] * x[o, first[i] + t].
struct ResampleParams {
  const void* src = nullptr;      // [outer, from, inner]
  void* dst = nullptr;            // [outer, to, inner]
  const void* weights = nullptr;  // float, or double for float64
  const int32_t* first = nullptr;
  const int32_t* count = nullptr;
  int64_t outer = 1, from = 1, to = 1, inner = 1;
  int64_t width = 1;
};
OSTRIA_LAYOUT(ResampleParams, 80, src, dst, weights, first, count, outer, from, to, inner, width);

}  // namespace ostria::kernels
