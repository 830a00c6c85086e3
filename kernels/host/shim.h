// SPDX-License-Identifier: Apache-2.0
// What device code names, for the host: thread and block numbers, barriers, warp exchanges and
// atomics. The threads of a block take turns at barriers (run.cpp), in an order drawn anew each
// time, so that a missing barrier shows. Kernels include it through kernels/common/kernel.h.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __align__(n) alignas(n)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(8) float2 {
  float x, y;
};

// Of the fiber that runs now.
inline constinit thread_local uint3 threadIdx{}, blockIdx{};
inline constinit thread_local dim3 blockDim{}, gridDim{};
inline constexpr int warpSize = 32;

namespace ostria::kernels::host {

using Body = void (*)(const void* params);

/// A kernel that was compiled for the host.
struct Registered {
  Registered(const char* name, size_t params_bytes, int max_threads, Body body);
};

/// Runs a kernel over its grid. Throws std::logic_error: an unknown name, parameters of another
/// size, more threads than it was made for, or threads that wait for each other for ever.
void Launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, const void* params,
            size_t params_bytes);
/// The same for a function.
void LaunchBody(Body body, dim3 grid, dim3 block, size_t shared_bytes, const void* params);
bool Knows(const char* name);
/// Threads of a block that kernel `name` was made for; 0: there is no such kernel.
int MaxThreads(const char* name);
/// The order of threads and blocks is drawn from this.
void SetSeed(uint64_t seed);

/// What conditions of graphs are set by: a driver of the host has this called.
using ConditionSetter = void (*)(uint64_t handle, unsigned value);
void OnSetCondition(ConditionSetter setter);
void SetCondition(uint64_t handle, unsigned value);

void* DynamicShared();
void SyncThreads();
void SyncWarp(unsigned mask);
/// Every lane of `mask` gives a value and gets that of lane `from`.
uint64_t Exchange(unsigned mask, uint64_t value, int from);
unsigned Ballot(unsigned mask, bool predicate);
int Lane();

template <class T>
T ShuffleFrom(unsigned mask, T value, int from) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = Exchange(mask, bits, from);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace ostria::kernels::host

template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}

inline void __syncthreads() { ostria::kernels::host::SyncThreads(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { ostria::kernels::host::SyncWarp(mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  const int lane = ostria::kernels::host::Lane();
  return ostria::kernels::host::ShuffleFrom(mask, value,
                                            (lane & ~(width - 1)) + (from & (width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const int lane = ostria::kernels::host::Lane(), from = lane ^ lanes;
  const bool inside = (from & ~(width - 1)) == (lane & ~(width - 1));
  return ostria::kernels::host::ShuffleFrom(mask, value, inside ? from : lane);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  const int lane = ostria::kernels::host::Lane(), from = lane + static_cast<int>(lanes);
  const bool inside = (from & ~(width - 1)) == (lane & ~(width - 1));
  return ostria::kernels::host::ShuffleFrom(mask, value, inside ? from : lane);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  const int lane = ostria::kernels::host::Lane(), from = lane - static_cast<int>(lanes);
  const bool inside = from >= (lane & ~(width - 1));
  return ostria::kernels::host::ShuffleFrom(mask, value, inside ? from : lane);
}
inline unsigned __ballot_sync(unsigned mask, bool p) {
  return ostria::kernels::host::Ballot(mask, p);
}
inline bool __any_sync(unsigned mask, bool p) { return __ballot_sync(mask, p) != 0; }
inline bool __all_sync(unsigned mask, bool p) { return __ballot_sync(mask, p) == mask; }

inline void cudaGraphSetConditional(unsigned long long handle, unsigned value) {
  ostria::kernels::host::SetCondition(handle, value);
}

// One thread of the host: plain reads and writes are atomic.
template <class T>
T atomicAdd(T* at, T value) {
  const T old = *at;
  *at = static_cast<T>(old + value);
  return old;
}
template <class T>
T atomicMax(T* at, T value) {
  const T old = *at;
  if (value > old) *at = value;
  return old;
}
template <class T>
T atomicMin(T* at, T value) {
  const T old = *at;
  if (value < old) *at = value;
  return old;
}
template <class T>
T atomicOr(T* at, T value) {
  const T old = *at;
  *at = old | value;
  return old;
}
template <class T>
T atomicExch(T* at, T value) {
  const T old = *at;
  *at = value;
  return old;
}
template <class T>
T atomicCAS(T* at, T expected, T value) {
  const T old = *at;
  if (old == expected) *at = value;
  return old;
}
template <class T>
T __ldg(const T* at) {
  return *at;
}
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
