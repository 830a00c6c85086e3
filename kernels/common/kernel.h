// SPDX-License-Identifier: Apache-2.0
// How a kernel is declared, for the device and for the host. Each takes one POD struct, so that
// both sides agree on every argument. A file in kernels/<family>/ is compiled twice: by nvcc into a
// cubin, and as C++ with kernels/host/shim.h, which runs the threads of a block one after the
// other. Headers of parameter structs include this too; OSTRIA_KERNEL_CODE is defined in .cu files.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define OSTRIA_KERNEL_CODE 1
/// Defines kernel `name` of `Params p`, launched with at most `threads` threads a block.
#define OSTRIA_KERNEL(name, Params, threads) \
  extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Params p)
/// `T name[count]` of the block, of a size that is known here.
#define OSTRIA_SHARED(T, name, count) __shared__ T name[count]
/// `T* name`, LaunchShape::shared_bytes of it.
#define OSTRIA_DYNAMIC_SHARED(T, name)                          \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  T* const name = reinterpret_cast<T*>(name##_bytes)
#define OSTRIA_DEVICE __device__ __forceinline__
/// Before a loop that is to stay one: unrolled it would take registers that threads need.
#define OSTRIA_NO_UNROLL _Pragma("unroll 1")
/// Before a loop of a length that is known here: arrays that it indexes stay in registers.
#define OSTRIA_UNROLL _Pragma("unroll")
#elif defined(OSTRIA_HOST_KERNELS)
#define OSTRIA_KERNEL_CODE 1
#include "kernels/host/shim.h"
#define OSTRIA_KERNEL(name, Params, threads)                                            \
  static void name##_on_host(const Params& p);                                          \
  static const ::ostria::kernels::host::Registered name##_registered(                   \
      #name, sizeof(Params), threads,                                                   \
      [](const void* params) { name##_on_host(*static_cast<const Params*>(params)); }); \
  static void name##_on_host(const Params& p)
// Blocks run one after the other in one thread of the host.
#define OSTRIA_SHARED(T, name, count) static T name[count]
#define OSTRIA_DYNAMIC_SHARED(T, name) \
  T* const name = static_cast<T*>(::ostria::kernels::host::DynamicShared())
#define OSTRIA_DEVICE inline
#define OSTRIA_NO_UNROLL
#define OSTRIA_UNROLL
#endif
