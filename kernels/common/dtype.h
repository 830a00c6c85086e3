// SPDX-License-Identifier: Apache-2.0
// The floating-point types of tensors as kernels see them: half types are bits in memory, and float
// in arithmetic. The device converts by instruction, the host by arithmetic on bits; both give
// equal bits, NaN included (whose payload the half types lose, as the instructions do).
#pragma once

#include <cstdint>

#include "kernels/common/kernel.h"

namespace ostria::kernels {

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
static_assert(sizeof(Float16) == 2 && sizeof(BFloat16) == 2);

template <class T>
struct ComputeOf {
  using type = float;
};
template <>
struct ComputeOf<double> {
  using type = double;
};
/// What elements of type T are computed in.
template <class T>
using Compute = typename ComputeOf<T>::type;

#if defined(OSTRIA_KERNEL_CODE)

OSTRIA_DEVICE float Widen(float x) { return x; }
OSTRIA_DEVICE double Widen(double x) { return x; }
OSTRIA_DEVICE float Widen(BFloat16 x) { return __uint_as_float(unsigned{x.bits} << 16); }
OSTRIA_DEVICE float Widen(Float16 x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
#else
  const unsigned sign = unsigned{x.bits & 0x8000u} << 16, rest = x.bits & 0x7fffu;
  if (rest > 0x7c00u) return __uint_as_float(0x7fffffffu);
  if (rest == 0x7c00u) return __uint_as_float(sign | 0x7f800000u);
  // The exponent's bias differs by 112; multiplying makes subnormal numbers normal.
  const float magnitude = __uint_as_float(rest << 13) * 0x1p112f;
  return __uint_as_float(__float_as_uint(magnitude) | sign);
#endif
}

/// Rounded to nearest, ties to even.
template <class T>
OSTRIA_DEVICE T Narrow(Compute<T> x) {
  return x;
}
template <>
OSTRIA_DEVICE BFloat16 Narrow<BFloat16>(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint16_t y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return {y};
#else
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
#endif
}
template <>
OSTRIA_DEVICE Float16 Narrow<Float16>(float x) {
#if defined(__CUDA_ARCH__)
  uint16_t y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return {y};
#else
  const unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return {0x7fff};
  if (rest >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65520 and more
  unsigned half;
  if (rest < 0x38800000u) {
    // Below the least normal number: 2^-24 is one bit, and so is an ulp of numbers around 0.5.
    half = __float_as_uint(__uint_as_float(rest) + 0.5f) - __float_as_uint(0.5f);
  } else {
    half = (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1)) >> 13;
  }
  return {static_cast<uint16_t>(sign | half)};
#endif
}

template <class T>
OSTRIA_DEVICE Compute<T> Load(const T* at) {
  return Widen(*at);
}
template <class T>
OSTRIA_DEVICE void Store(T* at, Compute<T> x) {
  *at = Narrow<T>(x);
}

#endif

}  // namespace ostria::kernels
