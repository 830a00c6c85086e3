// SPDX-License-Identifier: Apache-2.0
// The SIMD loops of single functors for the instruction set in use; tile programs run them.
#pragma once

#include <cstdint>

#include "backend/cpu/simd/elementwise_table.h"
#include "core/dtype.h"
#include "kernels/scalar/scalar_op.h"

namespace ostria {

using kernels::ScalarOp;

/// Whether `op` is defined for `dtype`.
bool ElementwiseSupports(ScalarOp op, DType dtype);
/// The dtype of the result.
DType ElementwiseResult(ScalarOp op, DType dtype);
/// The loop over a tile for CurrentIsa(); null when unsupported. Half types have none of their own.
ElementwiseFn ElementwiseFunction(ScalarOp op, DType dtype);
/// Two of them in one loop; null where there is no such pair.
ElementwiseFn ElementwisePair(ScalarOp first, ScalarOp second, bool swapped, DType dtype);
/// Half storage to float32 and back; the first is float16's, the second bfloat16's.
const ElementwiseTable& HalfConversions();

}  // namespace ostria
