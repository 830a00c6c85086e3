// SPDX-License-Identifier: Apache-2.0
// A few neighbouring elements that are moved at once where they are aligned.
#pragma once

#include "kernels/common/kernel.h"

namespace ostria::kernels {

/// Aligned to its size, at most to 16 bytes: the device moves it by vector instructions.
template <class T, int kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Chunk {
  T x[kCount];
};

#if defined(OSTRIA_KERNEL_CODE)
/// Whether T's that begin at `at` may be moved as chunks of `count`.
template <class T, int kCount>
OSTRIA_DEVICE bool IsAligned(const T* at) {
  return reinterpret_cast<uintptr_t>(at) % alignof(Chunk<T, kCount>) == 0;
}
#endif

}  // namespace ostria::kernels
