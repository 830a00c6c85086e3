// SPDX-License-Identifier: Apache-2.0
// Relu's mask of a dense matrix, as cuBLASLt keeps it: bit j % 8 of byte j / 8 of a row says
// whether element j is positive; rows of a mask are whole words of 128 bits. What follows a product
// where the library does not write or read the mask by itself.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct ReluMaskParams {
  void* y = nullptr;     // rows x cols
  void* mask = nullptr;  // rows x row_bytes
  int64_t rows = 0, cols = 0;
  int64_t row_bytes = 0;
};
OSTRIA_LAYOUT(ReluMaskParams, 40, y, mask, rows, cols, row_bytes);

}  // namespace ostria::kernels
