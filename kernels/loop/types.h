// SPDX-License-Identifier: Apache-2.0
// The head of every generated source: what kernels/scalar expects of the standard library, which
// the run-time compiler does not have, and how a generated kernel is declared. Generated code is
// this file, kernels/scalar without its includes, loop.h and the kernels; the host's compiler gets
// it behind kernels/host/shim.h.
#pragma once

#if defined(__CUDACC_RTC__)
using int8_t = signed char;
using int16_t = short;
using int32_t = int;
using int64_t = long long;
using uint8_t = unsigned char;
using uint16_t = unsigned short;
using uint32_t = unsigned int;
using uint64_t = unsigned long long;
using uintptr_t = unsigned long long;

namespace std {
template <class A, class B>
inline constexpr bool is_same_v = false;
template <class A>
inline constexpr bool is_same_v<A, A> = true;
template <class T>
inline constexpr bool is_signed_v = T(-1) < T(0);
}  // namespace std

// The compiler knows these functions by their plain names.
#define __builtin_fmaf fmaf
#define __builtin_fma fma
#define __builtin_sqrtf sqrtf
#define __builtin_sqrt sqrt
#define __builtin_fabsf fabsf
#define __builtin_fabs fabs
#define __builtin_copysignf copysignf
#define __builtin_copysign copysign
#define __builtin_floorf floorf
#define __builtin_floor floor
#define __builtin_ceilf ceilf
#define __builtin_ceil ceil
#define __builtin_rintf rintf
#define __builtin_rint rint
#define __builtin_fmodf fmodf
#define __builtin_fmod fmod
#define __builtin_expf expf
#define __builtin_exp exp
#define __builtin_expm1f expm1f
#define __builtin_expm1 expm1
#define __builtin_logf logf
#define __builtin_log log
#define __builtin_log1pf log1pf
#define __builtin_log1p log1p
#define __builtin_tanhf tanhf
#define __builtin_tanh tanh
#define __builtin_erff erff
#define __builtin_erf erf
#define __builtin_sinf sinf
#define __builtin_sin sin
#define __builtin_cosf cosf
#define __builtin_cos cos
#define __builtin_tanf tanf
#define __builtin_tan tan
#define __builtin_asinf asinf
#define __builtin_asin asin
#define __builtin_acosf acosf
#define __builtin_acos acos
#define __builtin_atanf atanf
#define __builtin_atan atan
#define __builtin_sinhf sinhf
#define __builtin_sinh sinh
#define __builtin_coshf coshf
#define __builtin_cosh cosh
#define __builtin_asinhf asinhf
#define __builtin_asinh asinh
#define __builtin_acoshf acoshf
#define __builtin_acosh acosh
#define __builtin_atanhf atanhf
#define __builtin_atanh atanh
#define __builtin_log2f log2f
#define __builtin_log2 log2
#define __builtin_log10f log10f
#define __builtin_log10 log10
#define __builtin_powf powf
#define __builtin_pow pow
#define __builtin_atan2f atan2f
#define __builtin_atan2 atan2
#define __builtin_nextafterf nextafterf
#define __builtin_nextafter nextafter
#define __builtin_memcpy memcpy
#define __builtin_inff() __int_as_float(0x7f800000)
#define __builtin_nanf(text) __int_as_float(0x7fc00000)
#define OSTRIA_LOOP(name, Params, threads) \
  extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Params p)
/// The same, of which so many neighbours in the grid are a cluster however it is launched.
#define OSTRIA_LOOP_CLUSTER(name, Params, threads, blocks)                             \
  extern "C" __global__ void __cluster_dims__(blocks, 1, 1) __launch_bounds__(threads) \
      name(const __grid_constant__ Params p)
#define OSTRIA_LOOP_SHARED(T, name, count) __shared__ T name[count]
#define OSTRIA_LOOP_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#define OSTRIA_LOOP_FN __device__ __forceinline__
#define OSTRIA_UNROLL _Pragma("unroll")
#else
#include <cstdint>
#include <cstring>
#include <type_traits>

#define OSTRIA_LOOP(name, Params, threads)               \
  static void name##_on_host(const Params& p);           \
  extern "C" void name(const void* params) {             \
    name##_on_host(*static_cast<const Params*>(params)); \
  }                                                      \
  static void name##_on_host(const Params& p)
#define OSTRIA_LOOP_CLUSTER(name, Params, threads, blocks)                    \
  extern "C" void name(const void* params);                                   \
  static const ::ostria::kernels::host::Cluster name##_cluster(name, blocks); \
  OSTRIA_LOOP(name, Params, threads)
#define OSTRIA_LOOP_SHARED(T, name, count) static T name[count]
#define OSTRIA_LOOP_DYNAMIC_SHARED(name) \
  auto* const name = static_cast<unsigned char*>(::ostria::kernels::host::DynamicShared())
#define OSTRIA_LOOP_FN inline
#define OSTRIA_UNROLL
#endif
