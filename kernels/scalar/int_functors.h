// SPDX-License-Identifier: Apache-2.0
// IntFunctor<op>::Call: ScalarOps over integers (any width) and bool. Overflow wraps; division by
// zero gives 0 and a negative power rounds toward zero, so that no input traps.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/scalar/config.h"
#include "kernels/scalar/scalar_op.h"

namespace ostria::kernels {
inline namespace OSTRIA_ISA_NS {

namespace internal {

// Wrapping arithmetic happens in uint64_t: no narrow type is promoted to a signed int that
// overflows.
template <class T>
OSTRIA_FN uint64_t Wide(T v) {
  return static_cast<uint64_t>(v);
}

template <class T>
OSTRIA_FN T IntFloorDiv(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == T(-1)) return static_cast<T>(0 - Wide(a));  // the smallest integer would trap
    const T q = static_cast<T>(a / b);
    return static_cast<T>((a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q);
  } else {
    return static_cast<T>(a / b);
  }
}

template <class T>
OSTRIA_FN T IntMod(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == T(-1)) return 0;
    const T r = static_cast<T>(a % b);
    return static_cast<T>((r != 0 && (r < 0) != (b < 0)) ? r + b : r);
  } else {
    return static_cast<T>(a % b);
  }
}

template <class T>
OSTRIA_FN T IntPow(T base, T exponent) {
  if constexpr (std::is_signed_v<T>) {
    if (exponent < 0) {
      if (base == 1) return 1;
      if (base == T(-1)) return (exponent & 1) ? T(-1) : T(1);
      return 0;
    }
  }
  uint64_t result = 1, factor = Wide(base);
  for (uint64_t e = Wide(exponent); e != 0; e >>= 1) {
    if (e & 1) result *= factor;
    factor *= factor;
  }
  return static_cast<T>(result);
}

// A count outside [0, width) moves every bit out; as unsigned, a negative count is a huge one.
template <class T>
OSTRIA_FN T ShiftLeft(T a, T count) {
  return Wide(count) < 8 * sizeof(T) ? static_cast<T>(Wide(a) << count) : T(0);
}
template <class T>
OSTRIA_FN T ShiftRight(T a, T count) {
  if (Wide(count) < 8 * sizeof(T)) return static_cast<T>(a >> count);
  return static_cast<T>(a < 0 ? -1 : 0);
}

}  // namespace internal

template <ScalarOp op>
struct IntFunctor;

#define OSTRIA_INT_UNARY(op, ...)     \
  template <>                         \
  struct IntFunctor<ScalarOp::op> {   \
    template <class T>                \
    static OSTRIA_FN auto Call(T a) { \
      return __VA_ARGS__;             \
    }                                 \
  };
#define OSTRIA_INT_BINARY(op, ...)         \
  template <>                              \
  struct IntFunctor<ScalarOp::op> {        \
    template <class T>                     \
    static OSTRIA_FN auto Call(T a, T b) { \
      return __VA_ARGS__;                  \
    }                                      \
  };

OSTRIA_INT_BINARY(kAdd, static_cast<T>(internal::Wide(a) + internal::Wide(b)))
OSTRIA_INT_BINARY(kSubtract, static_cast<T>(internal::Wide(a) - internal::Wide(b)))
OSTRIA_INT_BINARY(kMultiply, static_cast<T>(internal::Wide(a) * internal::Wide(b)))
OSTRIA_INT_BINARY(kMaximum, a > b ? a : b)
OSTRIA_INT_BINARY(kMinimum, a < b ? a : b)
OSTRIA_INT_BINARY(kPow, internal::IntPow(a, b))
OSTRIA_INT_BINARY(kMod, internal::IntMod(a, b))
OSTRIA_INT_BINARY(kFloorDivide, internal::IntFloorDiv(a, b))
OSTRIA_INT_BINARY(kEqual, a == b)
OSTRIA_INT_BINARY(kNotEqual, a != b)
OSTRIA_INT_BINARY(kLess, a < b)
OSTRIA_INT_BINARY(kLessEqual, a <= b)
OSTRIA_INT_BINARY(kGreater, a > b)
OSTRIA_INT_BINARY(kGreaterEqual, a >= b)
OSTRIA_INT_BINARY(kLogicalAnd, (a != T(0)) && (b != T(0)))
OSTRIA_INT_BINARY(kLogicalOr, (a != T(0)) || (b != T(0)))
OSTRIA_INT_BINARY(kLogicalXor, (a != T(0)) != (b != T(0)))
OSTRIA_INT_BINARY(kBitwiseAnd, static_cast<T>(a& b))
OSTRIA_INT_BINARY(kBitwiseOr, static_cast<T>(a | b))
OSTRIA_INT_BINARY(kBitwiseXor, static_cast<T>(a ^ b))
OSTRIA_INT_BINARY(kBitwiseLeftShift, internal::ShiftLeft(a, b))
OSTRIA_INT_BINARY(kBitwiseRightShift, internal::ShiftRight(a, b))
OSTRIA_INT_UNARY(kNegative, static_cast<T>(0 - internal::Wide(a)))
OSTRIA_INT_UNARY(kAbs, a < T(0) ? static_cast<T>(0 - internal::Wide(a)) : a)
OSTRIA_INT_UNARY(kSign, static_cast<T>((a > T(0)) - (a < T(0))))
OSTRIA_INT_UNARY(kSquare, static_cast<T>(internal::Wide(a) * internal::Wide(a)))
OSTRIA_INT_UNARY(kRelu, a > T(0) ? a : T(0))
OSTRIA_INT_UNARY(kFloor, a)
OSTRIA_INT_UNARY(kCeil, a)
OSTRIA_INT_UNARY(kRound, a)
OSTRIA_INT_UNARY(kTrunc, a)
OSTRIA_INT_UNARY(kIsFinite, (static_cast<void>(a), true))
OSTRIA_INT_UNARY(kIsNan, (static_cast<void>(a), false))
OSTRIA_INT_UNARY(kIsInf, (static_cast<void>(a), false))
OSTRIA_INT_UNARY(kLogicalNot, a == T(0))

#undef OSTRIA_INT_UNARY
#undef OSTRIA_INT_BINARY

template <>
struct IntFunctor<ScalarOp::kBitwiseInvert> {
  template <class T>
  static OSTRIA_FN T Call(T a) {
    if constexpr (std::is_same_v<T, bool>) {
      return !a;
    } else {
      return static_cast<T>(~a);
    }
  }
};
template <>
struct IntFunctor<ScalarOp::kWhere> {
  template <class T>
  static OSTRIA_FN T Call(bool condition, T a, T b) {
    return condition ? a : b;
  }
};
template <>
struct IntFunctor<ScalarOp::kClip> {
  template <class T>
  static OSTRIA_FN T Call(T a, T low, T high) {
    const T raised = a < low ? low : a;
    return raised > high ? high : raised;
  }
};
template <>
struct IntFunctor<ScalarOp::kFma> {
  template <class T>
  static OSTRIA_FN T Call(T a, T b, T c) {
    return static_cast<T>(internal::Wide(a) * internal::Wide(b) + internal::Wide(c));
  }
};

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::kernels
