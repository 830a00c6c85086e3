// SPDX-License-Identifier: Apache-2.0
// Index operands of gathers and scatters, as kernels read them.
#pragma once

#include "backend/kernel.h"
#include "kernels/rows/index.h"

namespace ostria::cuda {

/// Indices along an axis of `size`; negative ones count from its end.
inline kernels::IndexLaw LawOf(const MemDesc& indices, int64_t size) {
  return {size, indices.dtype == DType::kInt64 ? 1 : 0, 1};
}

}  // namespace ostria::cuda
