// SPDX-License-Identifier: Apache-2.0
// Threads stride over the grid in the order of dst, several units at a time, so that loads are
// under way while others are waited for.
#include "kernels/shape/copy_strided.h"

#include "kernels/shape/units.h"

namespace ostria::kernels {
namespace {

constexpr int kBatch = 4;

// Index: unsigned; offsets are its signed twin.
template <class Index, class Offset>
OSTRIA_DEVICE void Offsets(const StridedCopyParams& p, Index at, Offset* src, Offset* dst) {
  Offset from = 0, to = 0;
  for (int d = p.rank - 1; d > 0; --d) {
    const Index rest = Divide(at, p.sizes[d], p.divisors[d]);
    const auto i = static_cast<Offset>(at - rest * static_cast<Index>(p.sizes[d]));
    from += i * static_cast<Offset>(p.src_strides[d]);
    to += i * static_cast<Offset>(p.dst_strides[d]);
    at = rest;
  }
  *src = from + static_cast<Offset>(at) * static_cast<Offset>(p.src_strides[0]);
  *dst = to + static_cast<Offset>(at) * static_cast<Offset>(p.dst_strides[0]);
}

template <class Unit, class Index, class Offset>
OSTRIA_DEVICE void Copy(const StridedCopyParams& p) {
  const auto* __restrict__ src =
      reinterpret_cast<const Unit*>(static_cast<const char*>(p.src) + p.src_offset);
  auto* __restrict__ dst = static_cast<Unit*>(p.dst);
  const auto units = static_cast<Index>(p.units);
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < units;
       i += threads * kBatch) {
    Unit held[kBatch];
    Offset to[kBatch];
    for (int b = 0; b < kBatch; ++b) {
      const Index at = i + threads * static_cast<Index>(b);
      if (at >= units) break;
      Offset from;
      Offsets(p, at, &from, &to[b]);
      held[b] = src[from];
    }
    for (int b = 0; b < kBatch; ++b) {
      if (i + threads * static_cast<Index>(b) < units) dst[to[b]] = held[b];
    }
  }
}

}  // namespace

OSTRIA_KERNEL(copy_strided, StridedCopyParams, 256) {
  WithUnit(p.unit_bytes, [&]<class Unit>(Unit) {
    if (p.wide == 0) {
      Copy<Unit, uint32_t, int32_t>(p);
    } else {
      Copy<Unit, uint64_t, int64_t>(p);
    }
  });
}

}  // namespace ostria::kernels
