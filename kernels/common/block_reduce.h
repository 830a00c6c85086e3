// SPDX-License-Identifier: Apache-2.0
// Reductions over a warp and a block, in an order that depends on nothing but the number of
// threads. Every thread gets the result. Blocks are whole warps, and all of their threads call.
#pragma once

#include "kernels/common/kernel.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

struct Adds {
  template <class T>
  OSTRIA_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
/// NaN where one of both is.
struct Maxes {
  template <class T>
  OSTRIA_DEVICE T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

/// Of groups of `width` lanes, a power of two.
template <class T, class Op>
OSTRIA_DEVICE T WarpReduce(T x, Op op, int width = 32) {
  for (int lanes = width / 2; lanes > 0; lanes /= 2) x = op(x, __shfl_xor_sync(~0u, x, lanes));
  return x;
}
template <class T>
OSTRIA_DEVICE T WarpSum(T x, int width = 32) {
  return WarpReduce(x, Adds(), width);
}
template <class T>
OSTRIA_DEVICE T WarpMax(T x, int width = 32) {
  return WarpReduce(x, Maxes(), width);
}

template <class T, class Op>
OSTRIA_DEVICE T BlockReduce(T x, T identity, Op op) {
  OSTRIA_SHARED(T, parts, 32);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  x = WarpReduce(x, op);
  __syncthreads();  // an earlier reduction may still be read
  if (lane == 0) parts[warp] = x;
  __syncthreads();
  return WarpReduce(lane < warps ? parts[lane] : identity, op);
}
template <class T>
OSTRIA_DEVICE T BlockSum(T x) {
  return BlockReduce(x, T(0), Adds());
}
/// At least `least`.
template <class T>
OSTRIA_DEVICE T BlockMax(T x, T least) {
  return BlockReduce(x, least, Maxes());
}

}  // namespace ostria::kernels

#endif
