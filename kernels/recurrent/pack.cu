// SPDX-License-Identifier: Apache-2.0
// Blocks take tiles of 32 x 32 of both matrices in turn, through shared memory, so that reads and
// writes go along rows; what the biases need is left to all threads.
#include "kernels/recurrent/pack.h"

namespace ostria::kernels {
namespace {

constexpr int kTile = kRecurrentTile, kPitch = kTile + 1, kRows = 8;

// Column `c` of ours is this row of the space.
OSTRIA_DEVICE int64_t RowOf(const RecurrentPackParams& p, int64_t c) {
  if (p.swaps == 0 || c >= 2 * p.units) return c;
  return c < p.units ? c + p.units : c - p.units;
}

// One tile of ours, [from, columns], and its transpose in the space.
template <class T, bool kBack>
OSTRIA_DEVICE void Tile(const RecurrentPackParams& p, T* ours, T* space, int64_t from, int64_t tile,
                        T* shared) {
  const int64_t columns = p.gates * p.units, across = (columns + kTile - 1) / kTile;
  const int64_t row = tile / across * kTile, column = tile % across * kTile;
  const int x = static_cast<int>(threadIdx.x) % kTile, y = static_cast<int>(threadIdx.x) / kTile;
  for (int i = y; i < kTile; i += kRows) {
    if constexpr (kBack) {
      if (column + i < columns && row + x < from) {
        shared[x * kPitch + i] = space[RowOf(p, column + i) * from + row + x];
      }
    } else {
      if (row + i < from && column + x < columns) {
        shared[i * kPitch + x] = ours[(row + i) * columns + column + x];
      }
    }
  }
  __syncthreads();
  for (int i = y; i < kTile; i += kRows) {
    if constexpr (kBack) {
      if (row + i < from && column + x < columns) {
        ours[(row + i) * columns + column + x] = shared[i * kPitch + x];
      }
    } else {
      if (column + i < columns && row + x < from) {
        space[RowOf(p, column + i) * from + row + x] = shared[x * kPitch + i];
      }
    }
  }
  __syncthreads();
}

template <class T, bool kBack>
OSTRIA_DEVICE void Move(const RecurrentPackParams& p) {
  OSTRIA_SHARED(T, shared, kTile * kPitch);
  auto* const space = static_cast<T*>(p.space);
  const int64_t columns = p.gates * p.units, across = (columns + kTile - 1) / kTile;
  const int64_t kernels = across * ((p.features + kTile - 1) / kTile);
  const int64_t tiles = kernels + across * ((p.units + kTile - 1) / kTile);
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    if (tile < kernels) {
      Tile<T, kBack>(p, static_cast<T*>(p.kernel), space, p.features, tile, shared);
    } else {
      Tile<T, kBack>(p, static_cast<T*>(p.recurrent), space + columns * p.features, p.units,
                     tile - kernels, shared);
    }
  }
  T* const biases = space + columns * (p.features + p.units);
  auto* const bias = static_cast<T*>(p.bias);
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < columns * p.biases;
       i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t line = i / columns, at = line * columns + RowOf(p, i - line * columns);
    if constexpr (kBack) {
      bias[i] = biases[at];
    } else {
      biases[at] = bias[i];
    }
  }
}

}  // namespace

OSTRIA_KERNEL(recurrent_pack_2, RecurrentPackParams, 256) { Move<uint16_t, false>(p); }
OSTRIA_KERNEL(recurrent_pack_4, RecurrentPackParams, 256) { Move<uint32_t, false>(p); }
OSTRIA_KERNEL(recurrent_pack_8, RecurrentPackParams, 256) { Move<uint64_t, false>(p); }
OSTRIA_KERNEL(recurrent_unpack_2, RecurrentPackParams, 256) { Move<uint16_t, true>(p); }
OSTRIA_KERNEL(recurrent_unpack_4, RecurrentPackParams, 256) { Move<uint32_t, true>(p); }
OSTRIA_KERNEL(recurrent_unpack_8, RecurrentPackParams, 256) { Move<uint64_t, true>(p); }

}  // namespace ostria::kernels
