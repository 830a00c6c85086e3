// SPDX-License-Identifier: Apache-2.0
// Products with sizes that a device's vectors do not divide, computed with larger ones: what that
// would come to, which a pass counts and a backend judges.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace ostria::ops {

struct ProductPadding {
  DType dtype = DType::kFloat32;  // of the operands
  double flops = 0;               // of the product as it is
  double padded_flops = 0;        // and with its larger sizes
  int64_t copied_bytes = 0;       // read and written for that alone
  int launches = 0;               // likewise
};

/// The size that stands in for `size`, which `multiple`, the elements of a vector, does not divide:
/// the next multiple of eight vectors where that adds little, else of one.
constexpr int64_t PaddedSize(int64_t size, int64_t multiple) {
  constexpr int64_t kVectorsOfALine = 8, kLittle = 16;
  if (multiple <= 1 || size % multiple == 0) return size;
  const auto up = [&](int64_t unit) { return (size + unit - 1) / unit * unit; };
  const int64_t line = up(multiple * kVectorsOfALine);
  return (line - size) * kLittle <= size ? line : up(multiple);
}

}  // namespace ostria::ops
