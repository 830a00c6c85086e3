// SPDX-License-Identifier: Apache-2.0
// What kernels that move elements share: units of 1 to 16 bytes, and the choice of unit and width
// of index that is the same for all threads.
#pragma once

#include "kernels/common/kernel.h"

namespace ostria::kernels {

#if defined(OSTRIA_KERNEL_CODE)

/// Calls fn(Unit{}) with the unit of `bytes`.
template <class Fn>
OSTRIA_DEVICE void WithUnit(int bytes, const Fn& fn) {
  switch (bytes) {
    case 1: return fn(uint8_t{});
    case 2: return fn(uint16_t{});
    case 4: return fn(uint32_t{});
    case 8: return fn(uint64_t{});
    default: return fn(uint4{});
  }
}

#endif

}  // namespace ostria::kernels
