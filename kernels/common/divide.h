// SPDX-License-Identifier: Apache-2.0
// Division by a number that the host knows: of 31-bit numbers by a multiplication and a shift,
// since the GPU has no instruction that divides integers. Granlund and Montgomery, "Division by
// Invariant Integers using Multiplication", PLDI 1994.
#pragma once

#include <cstdint>

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct Divisor {
  uint32_t multiplier = 0, shift = 0;

  /// Divides numbers in [0, 2^31) by `by`, which is in [1, 2^31). Made on the host.
  static Divisor Of(int64_t by) {
    Divisor d;
    while ((int64_t{1} << d.shift) < by) ++d.shift;
    const uint64_t power = uint64_t{1} << d.shift, n = static_cast<uint64_t>(by);
    d.multiplier = static_cast<uint32_t>((power - n) * (uint64_t{1} << 32) / n + 1);
    return d;
  }
};
OSTRIA_LAYOUT(Divisor, 8, multiplier, shift);

#if defined(OSTRIA_KERNEL_CODE)
/// `x` divided by `by`, of which `d` was made.
OSTRIA_DEVICE uint32_t Divide(uint32_t x, int64_t /*by*/, Divisor d) {
  const auto high = static_cast<uint32_t>((uint64_t{x} * d.multiplier) >> 32);
  return (high + x) >> d.shift;
}
OSTRIA_DEVICE uint64_t Divide(uint64_t x, int64_t by, Divisor) {
  return x / static_cast<uint64_t>(by);
}
#endif

}  // namespace ostria::kernels
