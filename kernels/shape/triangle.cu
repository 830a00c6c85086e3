// SPDX-License-Identifier: Apache-2.0
// Threads stride over the grid, one element at a time; what becomes zero is not read.
#include "kernels/shape/triangle.h"

namespace ostria::kernels {
namespace {

template <class T, class Index>
OSTRIA_DEVICE void Keep(const TriangleParams& p) {
  const auto* __restrict__ src = static_cast<const T*>(p.src);
  auto* __restrict__ dst = static_cast<T*>(p.dst);
  const auto elements = static_cast<Index>(p.elements);
  const auto columns = static_cast<Index>(p.columns), rows = static_cast<Index>(p.rows);
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < elements;
       i += threads) {
    const Index line = Divide(i, p.columns, p.by_columns);
    const Index row = line - Divide(line, p.rows, p.by_rows) * rows;
    const int64_t ahead = static_cast<int64_t>(i - line * columns) - static_cast<int64_t>(row);
    const bool kept = p.upper != 0 ? ahead >= p.diagonal : ahead <= p.diagonal;
    dst[i] = kept ? src[i] : T(0);
  }
}

template <class T>
OSTRIA_DEVICE void Keep(const TriangleParams& p) {
  if (p.wide == 0) {
    Keep<T, uint32_t>(p);
  } else {
    Keep<T, uint64_t>(p);
  }
}

}  // namespace

OSTRIA_KERNEL(triangle_1, TriangleParams, 256) { Keep<uint8_t>(p); }
OSTRIA_KERNEL(triangle_2, TriangleParams, 256) { Keep<uint16_t>(p); }
OSTRIA_KERNEL(triangle_4, TriangleParams, 256) { Keep<uint32_t>(p); }
OSTRIA_KERNEL(triangle_8, TriangleParams, 256) { Keep<uint64_t>(p); }

}  // namespace ostria::kernels
