// SPDX-License-Identifier: Apache-2.0
// Threads stride over the grid in the order of dst, several elements at a time, as an index is
// waited for before its element can be asked for.
#include "kernels/data/along_axis.h"

namespace ostria::kernels {
namespace {

template <class T, class Number, int kBatch>
OSTRIA_DEVICE void Take(const TakeAlongParams& p) {
  const auto* __restrict__ x = static_cast<const T*>(p.x);
  auto* __restrict__ dst = static_cast<T*>(p.dst);
  const auto elements = static_cast<Number>(p.elements);
  const Number threads = static_cast<Number>(gridDim.x) * blockDim.x;
  for (Number i = static_cast<Number>(blockIdx.x) * blockDim.x + threadIdx.x; i < elements;
       i += threads * kBatch) {
    int64_t index[kBatch] = {};
    for (int b = 0; b < kBatch; ++b) {
      const Number at = i + threads * static_cast<Number>(b);
      if (at < elements) index[b] = RawIndex(p.indices, static_cast<int64_t>(at), p.law);
    }
    for (int b = 0; b < kBatch; ++b) {
      const Number at = i + threads * static_cast<Number>(b);
      if (at >= elements) break;
      const Number line = Divide(at, p.inner, p.by_inner);
      const auto k = static_cast<int64_t>(at - line * static_cast<Number>(p.inner));
      const auto o = static_cast<int64_t>(Divide(line, p.count, p.by_count));
      const int64_t place = PlaceOf(index[b], p.law, p.data_error, p.step);
      dst[at] = p.law.size == 0 ? T(0) : x[(o * p.law.size + place) * p.inner + k];
    }
  }
}

template <class T>
OSTRIA_DEVICE void Take(const TakeAlongParams& p) {
  if (p.wide == 0) {
    Take<T, uint32_t, 4>(p);
  } else {
    Take<T, uint64_t, 1>(p);
  }
}

}  // namespace

OSTRIA_KERNEL(take_along_axis_1, TakeAlongParams, 256) { Take<uint8_t>(p); }
OSTRIA_KERNEL(take_along_axis_2, TakeAlongParams, 256) { Take<uint16_t>(p); }
OSTRIA_KERNEL(take_along_axis_4, TakeAlongParams, 256) { Take<uint32_t>(p); }
OSTRIA_KERNEL(take_along_axis_8, TakeAlongParams, 256) { Take<uint64_t>(p); }

}  // namespace ostria::kernels
