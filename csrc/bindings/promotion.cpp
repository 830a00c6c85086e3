// SPDX-License-Identifier: Apache-2.0
#include "bindings/promotion.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace ostria {

std::optional<DType> Promote(DType a, DType b) {
  if (a == b) return a;
  if (IsFloat(a) && IsFloat(b)) {
    if (std::max(a, b) <= DType::kBFloat16) return std::nullopt;  // float16 with bfloat16
    return std::max(a, b);
  }
  if (!IsInteger(a) || !IsInteger(b)) return std::nullopt;
  if (KindOf(a) == KindOf(b)) return std::max(a, b);
  const DType s = KindOf(a) == DTypeKind::kSigned ? a : b, u = s == a ? b : a;
  if (SizeOf(s) > SizeOf(u)) return s;
  switch (u) {  // the smallest signed integer that holds both
    case DType::kUInt8: return DType::kInt16;
    case DType::kUInt16: return DType::kInt32;
    case DType::kUInt32: return DType::kInt64;
    default: return std::nullopt;  // uint64
  }
}

bool ScalarFits(ScalarKind kind, DType dtype) {
  switch (kind) {
    case ScalarKind::kBool: return dtype == DType::kBool;
    case ScalarKind::kInt: return dtype != DType::kBool;
    case ScalarKind::kFloat: break;
  }
  return IsFloat(dtype);
}

DType DefaultDType(ScalarKind kind) {
  return kind == ScalarKind::kBool  ? DType::kBool
         : kind == ScalarKind::kInt ? DType::kInt64
                                    : DType::kFloat32;
}

void FailPromotion(std::string_view op, DType a, DType b) {
  throw Error(ErrorCode::kTypeError, std::string(op),
              StrCat("Tensor conversion requested dtype ", a, " for Tensor with dtype ", b,
                     "; these are of different kinds and are not converted silently; use "
                     "ost.cast(x, ost.",
                     a, ") on one of them"));
}

}  // namespace ostria
