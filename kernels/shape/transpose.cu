// SPDX-License-Identifier: Apache-2.0
// Blocks stride over the tiles. A tile is read line by line of src and written line by line of dst;
// its rows in shared memory are one element longer, so that a column lies in all banks.
#include "kernels/shape/transpose.h"

namespace ostria::kernels {
namespace {

template <class T>
OSTRIA_DEVICE void Transpose(const TransposeParams& p) {
  constexpr int kTile = kTransposeTile, kPitch = kTile + 1;
  OSTRIA_SHARED(T, tile, kTile * kPitch);
  const int x = static_cast<int>(threadIdx.x) % kTile, y = static_cast<int>(threadIdx.x) / kTile;
  const int lines = static_cast<int>(blockDim.x) / kTile;
  for (int64_t t = blockIdx.x; t < p.tiles; t += gridDim.x) {
    const int64_t matrix = t / p.across_tiles / p.along_tiles;
    const int64_t across = t % p.across_tiles * kTile;
    const int64_t along = t / p.across_tiles % p.along_tiles * kTile;
    const T* src = static_cast<const T*>(p.src);
    T* dst = static_cast<T*>(p.dst);
    int64_t rest = matrix;
    for (int d = static_cast<int>(p.rank) - 1; d >= 0; --d) {
      const int64_t i = rest % p.sizes[d];
      rest /= p.sizes[d];
      src += i * p.src_strides[d];
      dst += i * p.dst_strides[d];
    }
    for (int line = y; line < kTile; line += lines) {
      if (along + line < p.along && across + x < p.across) {
        tile[line * kPitch + x] = src[(along + line) * p.src_stride + across + x];
      }
    }
    __syncthreads();
    for (int line = y; line < kTile; line += lines) {
      if (across + line < p.across && along + x < p.along) {
        dst[(across + line) * p.dst_stride + along + x] = tile[x * kPitch + line];
      }
    }
    __syncthreads();
  }
}

}  // namespace

OSTRIA_KERNEL(transpose_1, TransposeParams, kTransposeThreads) { Transpose<uint8_t>(p); }
OSTRIA_KERNEL(transpose_2, TransposeParams, kTransposeThreads) { Transpose<uint16_t>(p); }
OSTRIA_KERNEL(transpose_4, TransposeParams, kTransposeThreads) { Transpose<uint32_t>(p); }
OSTRIA_KERNEL(transpose_8, TransposeParams, kTransposeThreads) { Transpose<uint64_t>(p); }

}  // namespace ostria::kernels
