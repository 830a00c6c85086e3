// SPDX-License-Identifier: Apache-2.0
// Threads stride over the grid in the order of dst; each asks of every place which element of src
// stands there, if any.
#include "kernels/shape/window.h"

#include "kernels/shape/units.h"

namespace ostria::kernels {
namespace {

// Whether an element stands at place `at`, and where it lies in src.
template <class Index, class Offset>
OSTRIA_DEVICE bool Find(const WindowParams& p, Index at, Offset* src) {
  Offset from = 0;
  bool inside = true;
  for (int d = p.rank - 1; d >= 0; --d) {
    const WindowAxis& a = p.axes[d];
    const Index rest = d == 0 ? 0 : Divide(at, a.size, a.by_size);
    auto i =
        static_cast<Offset>(at - rest * static_cast<Index>(a.size)) - static_cast<Offset>(a.low);
    at = rest;
    if (i < 0 && a.wraps != 0) i += static_cast<Offset>(a.extent);
    if (i < 0) return false;
    if (a.step != 1) {
      const Index element = Divide(static_cast<Index>(i), a.step, a.by_step);
      inside = inside && element * static_cast<Index>(a.step) == static_cast<Index>(i);
      i = static_cast<Offset>(element);
    }
    inside = inside && i < static_cast<Offset>(a.extent);
    from += i * static_cast<Offset>(a.src_stride);
  }
  *src = from;
  return inside;
}

template <class Unit>
OSTRIA_DEVICE Unit FillOf(uint64_t bits) {
  if constexpr (sizeof(Unit) == 16) {
    const auto low = static_cast<unsigned>(bits), high = static_cast<unsigned>(bits >> 32);
    return uint4{low, high, low, high};
  } else {
    return static_cast<Unit>(bits);
  }
}

template <class Unit, class Index, class Offset>
OSTRIA_DEVICE void Place(const WindowParams& p) {
  constexpr int kBatch = 4;
  const auto* __restrict__ src =
      reinterpret_cast<const Unit*>(static_cast<const char*>(p.src) + p.src_offset);
  auto* __restrict__ dst = static_cast<Unit*>(p.dst);
  const Unit fill = FillOf<Unit>(p.fill);
  const auto units = static_cast<Index>(p.units);
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < units;
       i += threads * kBatch) {
    Unit held[kBatch];
    for (int b = 0; b < kBatch; ++b) {
      const Index at = i + threads * static_cast<Index>(b);
      if (at >= units) break;
      Offset from = 0;
      held[b] = Find(p, at, &from) ? src[from] : fill;
    }
    for (int b = 0; b < kBatch; ++b) {
      const Index at = i + threads * static_cast<Index>(b);
      if (at < units) dst[at] = held[b];
    }
  }
}

}  // namespace

OSTRIA_KERNEL(window, WindowParams, 256) {
  WithUnit(p.unit_bytes, [&]<class Unit>(Unit) {
    if (p.wide == 0) {
      Place<Unit, uint32_t, int32_t>(p);
    } else {
      Place<Unit, uint64_t, int64_t>(p);
    }
  });
}

}  // namespace ostria::kernels
