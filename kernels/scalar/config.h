// SPDX-License-Identifier: Apache-2.0
// How a functor is compiled: for the device, or for one CPU instruction set. A translation unit
// that is built with AVX flags defines OSTRIA_SIMD_ISA (1: AVX2, 2: AVX-512) before its first
// include. Everything below kernels/ then lives in a namespace of that name, so the linker can
// never pick an AVX copy of an inline function for code that must run without AVX.
#pragma once

#ifndef OSTRIA_SIMD_ISA
#define OSTRIA_SIMD_ISA 0
#endif

#if defined(__CUDACC__)
#define OSTRIA_FN __host__ __device__ __forceinline__
#define OSTRIA_ISA_NS device
#else
#define OSTRIA_FN inline __attribute__((always_inline))
#if OSTRIA_SIMD_ISA == 2
#define OSTRIA_ISA_NS avx512
#elif OSTRIA_SIMD_ISA == 1
#define OSTRIA_ISA_NS avx2
#else
#define OSTRIA_ISA_NS baseline
#endif
#endif
