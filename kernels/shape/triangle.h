// SPDX-License-Identifier: Apache-2.0
// One triangle of matrices, and zeros in the place of the other: tril and triu.
#pragma once

#include "kernels/common/divide.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct TriangleParams {
  const void* src = nullptr;
  void* dst = nullptr;
  int64_t elements = 0, rows = 1, columns = 1;
  int64_t diagonal = 0;  // kept are columns up to (upper: from) row + diagonal
  int64_t upper = 0;
  int64_t wide = 0;  // 1: indices need 64 bits
  Divisor by_rows, by_columns;
};
OSTRIA_LAYOUT(TriangleParams, 80, src, dst, elements, rows, columns, diagonal, upper, wide, by_rows,
              by_columns);

}  // namespace ostria::kernels
