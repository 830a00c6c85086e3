// SPDX-License-Identifier: Apache-2.0
// Element types: names, sizes, kinds and the C++ types that store them. No promotion rules here
// (they belong to the Python layer, bindings/promotion) and no arithmetic on half types beyond
// conversion.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace ostria {

enum class DType : uint8_t {
  kBool,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUInt8,
  kUInt16,
  kUInt32,
  kUInt64,
  kFloat16,
  kBFloat16,
  kFloat32,
  kFloat64,
};
inline constexpr int kNumDTypes = 13;

/// The Array API's kinds; promotion stays within one.
enum class DTypeKind : uint8_t { kBool, kSigned, kUnsigned, kFloat };

struct DTypeInfo {
  std::string_view name;
  int8_t size;
  DTypeKind kind;
};

inline constexpr DTypeInfo kDTypeInfo[kNumDTypes] = {
    {"bool", 1, DTypeKind::kBool},       {"int8", 1, DTypeKind::kSigned},
    {"int16", 2, DTypeKind::kSigned},    {"int32", 4, DTypeKind::kSigned},
    {"int64", 8, DTypeKind::kSigned},    {"uint8", 1, DTypeKind::kUnsigned},
    {"uint16", 2, DTypeKind::kUnsigned}, {"uint32", 4, DTypeKind::kUnsigned},
    {"uint64", 8, DTypeKind::kUnsigned}, {"float16", 2, DTypeKind::kFloat},
    {"bfloat16", 2, DTypeKind::kFloat},  {"float32", 4, DTypeKind::kFloat},
    {"float64", 8, DTypeKind::kFloat},
};

constexpr std::string_view Name(DType t) { return kDTypeInfo[static_cast<int>(t)].name; }
constexpr int64_t SizeOf(DType t) { return kDTypeInfo[static_cast<int>(t)].size; }
constexpr DTypeKind KindOf(DType t) { return kDTypeInfo[static_cast<int>(t)].kind; }
constexpr bool IsFloat(DType t) { return KindOf(t) == DTypeKind::kFloat; }
constexpr bool IsInteger(DType t) {
  return KindOf(t) == DTypeKind::kSigned || KindOf(t) == DTypeKind::kUnsigned;
}
inline void AppendPart(std::string& out, DType t) { out.append(Name(t)); }

/// Reads "float32"; false when the name is unknown.
constexpr bool ParseDType(std::string_view name, DType* out) {
  for (int i = 0; i < kNumDTypes; ++i) {
    if (kDTypeInfo[i].name == name) {
      *out = static_cast<DType>(i);
      return true;
    }
  }
  return false;
}

/// Storage of bfloat16: the upper half of a float, rounded to nearest even.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((u >> 16) | 0x40u);  // a NaN stays one
    } else {
      bits = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

/// Storage of IEEE binary16, rounded to nearest even, subnormals kept.
struct Float16 {
  uint16_t bits = 0;
  Float16() = default;
  explicit Float16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    uint32_t h;
    if (a > 0x7f800000u) {
      h = 0x7e00u;
    } else if (a >= 0x477ff000u) {
      h = 0x7c00u;  // rounds to infinity
    } else if (a >= 0x38800000u) {
      h = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
    } else {  // adding 0.5 lets the FPU round to a multiple of 2^-24
      const float shifted = std::bit_cast<float>(a) + 0.5f;
      h = std::bit_cast<uint32_t>(shifted) - 0x3f000000u;
    }
    bits = static_cast<uint16_t>(sign | h);
  }
  explicit operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, a = bits & 0x7fffu;
    if (a >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((a & 0x3ffu) << 13));
    if (a >= 0x400u) return std::bit_cast<float>(sign | ((a << 13) + 0x38000000u));
    const float value = static_cast<float>(a) * 0x1p-24f;
    return sign ? -value : value;
  }
};

/// Calls `fn` with a null pointer of the C++ storage type: `DispatchDType(t, [&]<class T>(T*)
/// {...})`.
template <class Fn>
decltype(auto) DispatchDType(DType t, Fn&& fn) {
  switch (t) {
    case DType::kBool: return fn(static_cast<bool*>(nullptr));
    case DType::kInt8: return fn(static_cast<int8_t*>(nullptr));
    case DType::kInt16: return fn(static_cast<int16_t*>(nullptr));
    case DType::kInt32: return fn(static_cast<int32_t*>(nullptr));
    case DType::kInt64: return fn(static_cast<int64_t*>(nullptr));
    case DType::kUInt8: return fn(static_cast<uint8_t*>(nullptr));
    case DType::kUInt16: return fn(static_cast<uint16_t*>(nullptr));
    case DType::kUInt32: return fn(static_cast<uint32_t*>(nullptr));
    case DType::kUInt64: return fn(static_cast<uint64_t*>(nullptr));
    case DType::kFloat16: return fn(static_cast<Float16*>(nullptr));
    case DType::kBFloat16: return fn(static_cast<BFloat16*>(nullptr));
    case DType::kFloat32: return fn(static_cast<float*>(nullptr));
    case DType::kFloat64: break;
  }
  return fn(static_cast<double*>(nullptr));
}

}  // namespace ostria
