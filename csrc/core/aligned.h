// SPDX-License-Identifier: Apache-2.0
// Sizes of what lies behind each other in chunks and regions of memory.
#pragma once

#include <concepts>

#include "core/tensor.h"

namespace ostria {

/// `bytes`, or the next multiple of kAlignment.
template <std::integral T>
constexpr T Aligned(T bytes) {
  constexpr T a = kAlignment;
  return (bytes + a - 1) / a * a;
}

}  // namespace ostria
