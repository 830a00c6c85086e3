// SPDX-License-Identifier: Apache-2.0
// One kernel per size of element. Threads stride over the grid; what lies on 16-byte boundaries is
// written as such vectors, the ends element by element.
#include "kernels/fill/fill.h"

namespace ostria::kernels {
namespace {

template <class T>
OSTRIA_DEVICE void Fill(const FillParams& p) {
  constexpr int64_t kVector = 16 / sizeof(T);
  T* const dst = static_cast<T*>(p.dst);
  const T value = static_cast<T>(p.bits);
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  const int64_t skew = static_cast<int64_t>(reinterpret_cast<uintptr_t>(dst) % 16 / sizeof(T));
  const int64_t head = skew == 0 ? 0 : min(p.elements, kVector - skew);
  const int64_t vectors = (p.elements - head) / kVector, tail = head + vectors * kVector;
  uint64_t pair = p.bits;
  for (int bits = 8 * static_cast<int>(sizeof(T)); bits < 64; bits *= 2) pair |= pair << bits;
  const auto low = static_cast<unsigned>(pair), high = static_cast<unsigned>(pair >> 32);
  for (int64_t i = thread; i < vectors; i += threads) {
    reinterpret_cast<uint4*>(dst + head)[i] = uint4{low, high, low, high};
  }
  if (thread < head) dst[thread] = value;
  if (tail + thread < p.elements) dst[tail + thread] = value;
}

}  // namespace

OSTRIA_KERNEL(fill_1, FillParams, 256) { Fill<uint8_t>(p); }
OSTRIA_KERNEL(fill_2, FillParams, 256) { Fill<uint16_t>(p); }
OSTRIA_KERNEL(fill_4, FillParams, 256) { Fill<uint32_t>(p); }
OSTRIA_KERNEL(fill_8, FillParams, 256) { Fill<uint64_t>(p); }

}  // namespace ostria::kernels
