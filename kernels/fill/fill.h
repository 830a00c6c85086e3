// SPDX-License-Identifier: Apache-2.0
// Fills memory with one element.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct FillParams {
  void* dst = nullptr;
  int64_t elements = 0;
  uint64_t bits = 0;  // the element, in the low bytes
};
OSTRIA_LAYOUT(FillParams, 24, dst, elements, bits);

}  // namespace ostria::kernels
