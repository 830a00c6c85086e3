// SPDX-License-Identifier: Apache-2.0
// Functor<op>::Call: the arithmetic of each floating-point ScalarOp over any V (float, double, a
// pack). Branch-free, no dtype beyond V, no memory. A predicate returns V's mask. NaN semantics are
// NumPy's.
#pragma once

#include "kernels/scalar/math.h"
#include "kernels/scalar/scalar_op.h"

namespace ostria::kernels {
inline namespace OSTRIA_ISA_NS {

template <ScalarOp op>
struct Functor;

#define OSTRIA_UNARY(op, ...)         \
  template <>                         \
  struct Functor<ScalarOp::op> {      \
    template <class V>                \
    static OSTRIA_FN auto Call(V a) { \
      return __VA_ARGS__;             \
    }                                 \
  };
#define OSTRIA_BINARY(op, ...)             \
  template <>                              \
  struct Functor<ScalarOp::op> {           \
    template <class V>                     \
    static OSTRIA_FN auto Call(V a, V b) { \
      return __VA_ARGS__;                  \
    }                                      \
  };

/// NumPy's maximum and minimum: NaN when either is.
template <class V>
OSTRIA_FN V Maximum(V a, V b) {
  return Select(a != a, a, Max(a, b));
}
template <class V>
OSTRIA_FN V Minimum(V a, V b) {
  return Select(a != a, a, Min(a, b));
}

namespace internal {

OSTRIA_FN float LibFmod(float a, float b) { return __builtin_fmodf(a, b); }
OSTRIA_FN double LibFmod(double a, double b) { return __builtin_fmod(a, b); }

struct FloorMod {
  template <class T>
  OSTRIA_FN T operator()(T a, T b) const {
    const T r = LibFmod(a, b);
    if (r == T(0)) return CopySign(r, b);
    return (r < T(0)) != (b < T(0)) ? r + b : r;
  }
};

struct FloorDiv {  // NumPy: exact because a - mod is a multiple of b
  template <class T>
  OSTRIA_FN T operator()(T a, T b) const {
    if (b == T(0)) return a / b;
    const T quotient = (a - FloorMod()(a, b)) / b;
    if (quotient == T(0)) return CopySign(T(0), a / b);
    const T floor = Floor(quotient);
    return quotient - floor > T(0.5) ? floor + T(1) : floor;
  }
};

// The C library's functions, lane by lane: rare enough to prefer its accuracy to a polynomial.
#define OSTRIA_LIB_UNARY(name, fn)                                             \
  struct name {                                                                \
    OSTRIA_FN float operator()(float a) const { return __builtin_##fn##f(a); } \
    OSTRIA_FN double operator()(double a) const { return __builtin_##fn(a); }  \
  };
#define OSTRIA_LIB_BINARY(name, fn)                                                        \
  struct name {                                                                            \
    OSTRIA_FN float operator()(float a, float b) const { return __builtin_##fn##f(a, b); } \
    OSTRIA_FN double operator()(double a, double b) const { return __builtin_##fn(a, b); } \
  };
OSTRIA_LIB_UNARY(LibTan, tan)
OSTRIA_LIB_UNARY(LibAsin, asin)
OSTRIA_LIB_UNARY(LibAcos, acos)
OSTRIA_LIB_UNARY(LibAtan, atan)
OSTRIA_LIB_UNARY(LibSinh, sinh)
OSTRIA_LIB_UNARY(LibCosh, cosh)
OSTRIA_LIB_UNARY(LibAsinh, asinh)
OSTRIA_LIB_UNARY(LibAcosh, acosh)
OSTRIA_LIB_UNARY(LibAtanh, atanh)
OSTRIA_LIB_UNARY(LibLog2, log2)
OSTRIA_LIB_UNARY(LibLog10, log10)
OSTRIA_LIB_BINARY(LibPow, pow)
OSTRIA_LIB_BINARY(LibAtan2, atan2)
OSTRIA_LIB_BINARY(LibNextAfter, nextafter)
#undef OSTRIA_LIB_UNARY
#undef OSTRIA_LIB_BINARY

// Scaled by the larger side, so that no square overflows or vanishes.
template <class V>
OSTRIA_FN V Hypot(V a, V b) {
  const V x = Abs(a), y = Abs(b), long_side = Maximum(x, y), r = Min(x, y) / long_side;
  const V length = Select(long_side == V(0), long_side, long_side * Sqrt(Fma(r, r, V(1))));
  return Select((x == Infinity<V>()) | (y == Infinity<V>()), Infinity<V>(), length);
}

template <class V>
OSTRIA_FN V LogAddExp(V a, V b) {
  const V y = Maximum(a, b) + Log1p(Exp(-Abs(a - b)));
  return Select(a == b, a + V(0.69314718055994531), y);  // infinities have no distance
}

// The slope of x * Phi(x). The bound on x, beyond which the slope is 0 or 1, keeps inf * 0 from
// becoming NaN; a NaN passes.
template <class V>
OSTRIA_FN V GeluSlope(V x) {
  const V b = Min(V(1e4), Max(V(-1e4), x));
  const V cdf = V(0.5) * (V(1) + Erf(b * V(0.70710678118654752)));
  return Fma(b, V(0.3989422804014327) * Exp(V(-0.5) * b * b), cdf);
}
// The same for x * s with s = sigmoid(u), which is 0.5 * (1 + tanh(u / 2)).
template <class V>
OSTRIA_FN V GeluTanhSlope(V x) {
  const V b = Min(V(1e4), Max(V(-1e4), x)), square = b * b;
  const V s = Sigmoid(V(1.5957691216057308) * b * Fma(square, V(0.044715), V(1)));
  const V du = V(1.5957691216057308) * Fma(square, V(0.134145), V(1));
  return Fma(b * du, s * (V(1) - s), s);
}

// x * sigmoid(t) where t -> -inf with x: the bound on x keeps -inf * 0 from becoming NaN.
template <class V>
OSTRIA_FN V Gate(V x, V sigmoid) {
  return Max(V(-1e30f), x) * sigmoid;
}

}  // namespace internal

OSTRIA_BINARY(kAdd, a + b)
OSTRIA_BINARY(kSubtract, a - b)
OSTRIA_BINARY(kMultiply, a* b)
OSTRIA_BINARY(kDivide, a / b)
OSTRIA_BINARY(kMaximum, Maximum(a, b))
OSTRIA_BINARY(kMinimum, Minimum(a, b))
OSTRIA_BINARY(kPow, Lanewise(a, b, internal::LibPow()))
OSTRIA_BINARY(kMod, Lanewise(a, b, internal::FloorMod()))
OSTRIA_BINARY(kFloorDivide, Lanewise(a, b, internal::FloorDiv()))
OSTRIA_BINARY(kAtan2, Lanewise(a, b, internal::LibAtan2()))
OSTRIA_BINARY(kHypot, internal::Hypot(a, b))
OSTRIA_BINARY(kLogAddExp, internal::LogAddExp(a, b))
OSTRIA_BINARY(kCopySign, CopySign(a, b))
OSTRIA_BINARY(kNextAfter, Lanewise(a, b, internal::LibNextAfter()))
OSTRIA_BINARY(kEqual, a == b)
OSTRIA_BINARY(kNotEqual, a != b)
OSTRIA_BINARY(kLess, a < b)
OSTRIA_BINARY(kLessEqual, a <= b)
OSTRIA_BINARY(kGreater, a > b)
OSTRIA_BINARY(kGreaterEqual, a >= b)
OSTRIA_BINARY(kLogicalAnd, (a != V(0)) & (b != V(0)))
OSTRIA_BINARY(kLogicalOr, (a != V(0)) | (b != V(0)))
OSTRIA_BINARY(kLogicalXor, (a != V(0)) ^ (b != V(0)))

// Gradients: a is the cotangent, b the output (tanh, sigmoid, relu) or the input (gelu).
OSTRIA_BINARY(kTanhGrad, a*(V(1) - b * b))
OSTRIA_BINARY(kSigmoidGrad, a*(b*(V(1) - b)))
OSTRIA_BINARY(kReluGrad, Select(b > V(0), a, V(0)))
OSTRIA_BINARY(kGeluGrad, a* internal::GeluSlope(b))
OSTRIA_BINARY(kGeluTanhGrad, a* internal::GeluTanhSlope(b))

OSTRIA_UNARY(kNegative, -a)
OSTRIA_UNARY(kAbs, Abs(a))
OSTRIA_UNARY(kSign, Select(a > V(0), V(1), Select(a < V(0), V(-1), a + V(0))))
OSTRIA_UNARY(kExp, Exp(a))
OSTRIA_UNARY(kLog, Log(a))
OSTRIA_UNARY(kSqrt, Sqrt(a))
OSTRIA_UNARY(kRsqrt, V(1) / Sqrt(a))
OSTRIA_UNARY(kSquare, a* a)
OSTRIA_UNARY(kReciprocal, V(1) / a)
OSTRIA_UNARY(kTanh, Tanh(a))
OSTRIA_UNARY(kSigmoid, Sigmoid(a))
OSTRIA_UNARY(kErf, Erf(a))
OSTRIA_UNARY(kGelu, internal::Gate(a, V(0.5) * (V(1) + Erf(a * V(0.70710678118654752)))))
OSTRIA_UNARY(kGeluTanh,
             internal::Gate(a, Sigmoid(V(1.5957691216057308) * a * Fma(a * a, V(0.044715), V(1)))))
OSTRIA_UNARY(kRelu, Max(V(0), a))
OSTRIA_UNARY(kSelu, V(1.0507009873554805) * Select(a > V(0), a, V(1.6732632423543772) * Expm1(a)))
OSTRIA_UNARY(kSilu, internal::Gate(a, Sigmoid(a)))
OSTRIA_UNARY(kSoftplus, Max(V(0), a) + Log1p(Exp(-Abs(a))))
OSTRIA_UNARY(kLog1p, Log1p(a))
OSTRIA_UNARY(kExpm1, Expm1(a))
OSTRIA_UNARY(kSin, Sin(a))
OSTRIA_UNARY(kCos, Cos(a))
OSTRIA_UNARY(kTan, Lanewise(a, internal::LibTan()))
OSTRIA_UNARY(kAsin, Lanewise(a, internal::LibAsin()))
OSTRIA_UNARY(kAcos, Lanewise(a, internal::LibAcos()))
OSTRIA_UNARY(kAtan, Lanewise(a, internal::LibAtan()))
OSTRIA_UNARY(kSinh, Lanewise(a, internal::LibSinh()))
OSTRIA_UNARY(kCosh, Lanewise(a, internal::LibCosh()))
OSTRIA_UNARY(kAsinh, Lanewise(a, internal::LibAsinh()))
OSTRIA_UNARY(kAcosh, Lanewise(a, internal::LibAcosh()))
OSTRIA_UNARY(kAtanh, Lanewise(a, internal::LibAtanh()))
OSTRIA_UNARY(kLog2, Lanewise(a, internal::LibLog2()))
OSTRIA_UNARY(kLog10, Lanewise(a, internal::LibLog10()))
OSTRIA_UNARY(kFloor, Floor(a))
OSTRIA_UNARY(kCeil, Ceil(a))
OSTRIA_UNARY(kRound, Round(a))
OSTRIA_UNARY(kTrunc, CopySign(Floor(Abs(a)), a))
OSTRIA_UNARY(kSignBit, CopySign(V(1), a) < V(0))
OSTRIA_UNARY(kIsFinite, Abs(a) < Infinity<V>())
OSTRIA_UNARY(kIsNan, a != a)
OSTRIA_UNARY(kIsInf, Abs(a) == Infinity<V>())
OSTRIA_UNARY(kLogicalNot, a == V(0))

#undef OSTRIA_UNARY
#undef OSTRIA_BINARY

template <>
struct Functor<ScalarOp::kLeakyRelu> {
  template <class V>
  static OSTRIA_FN V Call(V a, V slope) {
    return Select(a > V(0), a, slope * a);
  }
};
template <>
struct Functor<ScalarOp::kElu> {
  template <class V>
  static OSTRIA_FN V Call(V a, V alpha) {
    return Select(a > V(0), a, alpha * Expm1(a));
  }
};
template <>
struct Functor<ScalarOp::kWhere> {
  template <class M, class V>
  static OSTRIA_FN V Call(M condition, V a, V b) {
    return Select(condition, a, b);
  }
};
template <>
struct Functor<ScalarOp::kClip> {
  template <class V>
  static OSTRIA_FN V Call(V a, V low, V high) {
    return Minimum(Maximum(a, low), high);
  }
};
template <>
struct Functor<ScalarOp::kFma> {
  template <class V>
  static OSTRIA_FN V Call(V a, V b, V c) {
    return Fma(a, b, c);
  }
};

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::kernels
