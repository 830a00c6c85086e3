// SPDX-License-Identifier: Apache-2.0
// Threads stride over the grid in the order of dst. Each looks up the part of its column by
// bisection of the ends, which all threads read from the same few lines of the parameters.
#include "kernels/shape/join.h"

#include "kernels/shape/units.h"

namespace ostria::kernels {
namespace {

template <class Unit, class Index>
OSTRIA_DEVICE Unit Read(const JoinParams& p, Index row, Index column) {
  int low = 0, high = p.parts - 1;  // the first part that ends behind the column
  while (low < high) {
    const int middle = (low + high) / 2;
    if (column < static_cast<Index>(p.part[middle].end)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  const Index begin = low == 0 ? 0 : static_cast<Index>(p.part[low - 1].end);
  const Index width = static_cast<Index>(p.part[low].end) - begin;
  return static_cast<const Unit*>(p.part[low].src)[row * width + (column - begin)];
}

template <class Unit, class Index>
OSTRIA_DEVICE void Join(const JoinParams& p) {
  constexpr int kBatch = 4;
  auto* __restrict__ dst = static_cast<Unit*>(p.dst);
  const auto width = static_cast<Index>(p.part[p.parts - 1].end);
  const Index units = static_cast<Index>(p.rows) * width;
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < units;
       i += threads * kBatch) {
    Unit held[kBatch];
    Index to[kBatch];
    for (int b = 0; b < kBatch; ++b) {
      const Index at = i + threads * static_cast<Index>(b);
      if (at >= units) break;
      const Index row = Divide(at, static_cast<int64_t>(width), p.by_row);
      const Index column = at - row * width;
      held[b] = Read<Unit>(p, row, column);
      to[b] = row * static_cast<Index>(p.pitch) + column;
    }
    for (int b = 0; b < kBatch; ++b) {
      if (i + threads * static_cast<Index>(b) < units) dst[to[b]] = held[b];
    }
  }
}

}  // namespace

OSTRIA_KERNEL(join, JoinParams, 256) {
  WithUnit(p.unit_bytes, [&]<class Unit>(Unit) {
    if (p.wide == 0) {
      Join<Unit, uint32_t>(p);
    } else {
      Join<Unit, uint64_t>(p);
    }
  });
}

}  // namespace ostria::kernels
