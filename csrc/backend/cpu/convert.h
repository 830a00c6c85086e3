// SPDX-License-Identifier: Apache-2.0
// Values from one dtype to another. Floats become integers by dropping the fraction; what does not
// fit saturates and NaN is 0, the same on every machine. bool is whether a value is not 0.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace ostria::cpu {

/// `n` dense elements on the calling thread's share of threads. `dst` may be `src` when the sizes
/// of the dtypes are equal.
void Convert(const void* src, DType from, void* dst, DType to, int64_t n);

/// Writes `value` as one element of `to`.
void ConvertScalar(double value, DType to, void* dst);

}  // namespace ostria::cpu
