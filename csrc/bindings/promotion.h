// SPDX-License-Identifier: Apache-2.0
// dtype promotion (decision C8): within one kind by the Array API's table; across kinds an error
// that says `cast`. IR ops see equal dtypes; this is where the casts come from.
#pragma once

#include <optional>
#include <string_view>

#include "core/dtype.h"

namespace ostria {

/// The common dtype, or nothing when the two are of different kinds (int and float, float16 and
/// bfloat16, uint64 and a signed integer).
std::optional<DType> Promote(DType a, DType b);

/// What a Python scalar can become beside tensors of `dtype`: 0 bool, 1 int, 2 float.
enum class ScalarKind { kBool, kInt, kFloat };
/// Whether a Python scalar of this kind takes the tensors' dtype.
bool ScalarFits(ScalarKind kind, DType dtype);
/// dtype of a scalar among scalars only.
DType DefaultDType(ScalarKind kind);

/// Throws Error(kTypeError) with TF's sentence, both dtypes and the remedy.
[[noreturn]] void FailPromotion(std::string_view op, DType a, DType b);

}  // namespace ostria
