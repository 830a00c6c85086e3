// SPDX-License-Identifier: Apache-2.0
// The fifteen-odd primitives that every element function is written in, for V = float and V =
// double. CPU packs give the same names (csrc/backend/cpu/simd/pack_*.h) and are found by
// argument-dependent lookup. Operators + - * / and comparisons are the types' own; a comparison
// yields bool or a lane mask. No std:: wrappers here: their out-of-line copies could be shared
// between instruction sets.
#pragma once

#include <cstdint>

#include "kernels/scalar/config.h"

namespace ostria::kernels {
inline namespace OSTRIA_ISA_NS {

template <class V>
struct ScalarOfImpl {
  using type = typename V::Scalar;
};
template <>
struct ScalarOfImpl<float> {
  using type = float;
};
template <>
struct ScalarOfImpl<double> {
  using type = double;
};
/// The element type of V: itself for float and double.
template <class V>
using ScalarOf = typename ScalarOfImpl<V>::type;
template <class V>
inline constexpr bool kIsF32 = sizeof(ScalarOf<V>) == 4;

template <class To, class From>
OSTRIA_FN To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

// Contraction is off wherever this is built for the CPU: without the instruction, Fma rounds twice.
OSTRIA_FN float Fma(float a, float b, float c) {
#if defined(__FMA__) || defined(__CUDA_ARCH__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
OSTRIA_FN double Fma(double a, double b, double c) {
#if defined(__FMA__) || defined(__CUDA_ARCH__)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}
/// a * b + c with two roundings everywhere: for what must have the same bits on every machine.
template <class V>
OSTRIA_FN V MulThenAdd(V a, V b, V c) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(__fmul_rn(a, b), c);
#else
  return a * b + c;
#endif
}
OSTRIA_FN float Sqrt(float x) { return __builtin_sqrtf(x); }
OSTRIA_FN double Sqrt(double x) { return __builtin_sqrt(x); }
// As the x86 instructions: the second operand when either is NaN.
OSTRIA_FN float Min(float a, float b) { return a < b ? a : b; }
OSTRIA_FN double Min(double a, double b) { return a < b ? a : b; }
OSTRIA_FN float Max(float a, float b) { return a > b ? a : b; }
OSTRIA_FN double Max(double a, double b) { return a > b ? a : b; }
OSTRIA_FN float Abs(float x) { return __builtin_fabsf(x); }
OSTRIA_FN double Abs(double x) { return __builtin_fabs(x); }
OSTRIA_FN float CopySign(float a, float sign) { return __builtin_copysignf(a, sign); }
OSTRIA_FN double CopySign(double a, double sign) { return __builtin_copysign(a, sign); }
OSTRIA_FN float Floor(float x) { return __builtin_floorf(x); }
OSTRIA_FN double Floor(double x) { return __builtin_floor(x); }
OSTRIA_FN float Ceil(float x) { return __builtin_ceilf(x); }
OSTRIA_FN double Ceil(double x) { return __builtin_ceil(x); }
/// Half to even.
OSTRIA_FN float Round(float x) { return __builtin_rintf(x); }
OSTRIA_FN double Round(double x) { return __builtin_rint(x); }
/// Half to even for |x| < 2^22; cheaper where rounding is a library call.
OSTRIA_FN float RoundSmall(float x) { return (x + 12582912.0f) - 12582912.0f; }
OSTRIA_FN double RoundSmall(double x) { return __builtin_rint(x); }
OSTRIA_FN float Select(bool mask, float a, float b) { return mask ? a : b; }
OSTRIA_FN double Select(bool mask, double a, double b) { return mask ? a : b; }

/// x * 2^n for integral n in [-252, 254]; one rounding only, subnormal results kept.
OSTRIA_FN float Ldexp(float x, float n) {
  const int i = static_cast<int>(n), half = i >> 1;
  const float a = BitCast<float>((half + 127) << 23), b = BitCast<float>((i - half + 127) << 23);
  return x * a * b;
}

/// x = result * 2^*e with result in [sqrt(1/2), sqrt(2)), for positive normal x.
OSTRIA_FN float SplitExponent(float x, float* e) {
  // Wraps around for zeros and negative numbers, of which the caller knows the logarithm.
  const auto i = static_cast<int32_t>(BitCast<uint32_t>(x) - 0x3f3504f3u);
  *e = static_cast<float>(i >> 23);
  return BitCast<float>((i & 0x7fffff) + 0x3f3504f3);
}

/// Applies a scalar function to every lane; for what has no vector form.
template <class F>
OSTRIA_FN float Lanewise(float x, F f) {
  return f(x);
}
template <class F>
OSTRIA_FN double Lanewise(double x, F f) {
  return f(x);
}
template <class F>
OSTRIA_FN float Lanewise(float a, float b, F f) {
  return f(a, b);
}
template <class F>
OSTRIA_FN double Lanewise(double a, double b, F f) {
  return f(a, b);
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::kernels
