// SPDX-License-Identifier: Apache-2.0
// One pass of a radix sort from the lowest digit up: every tile counts its digits, sums say how
// many equal and smaller digits come before each tile, and every tile puts its items there in the
// order that they have. Counts are integers, so nothing depends on who comes first.
#include "kernels/common/block_sort.h"
#include "kernels/sort/sort.h"

namespace ostria::kernels {
namespace {

OSTRIA_DEVICE int DigitOf(uint64_t key, const RadixParams& p) {
  return static_cast<int>(key >> p.begin & ((1u << (p.end - p.begin)) - 1));
}

template <class Key, int kItems>
OSTRIA_DEVICE void Count(const RadixParams& p) {
  constexpr int64_t kTile = int64_t{kTileThreads} * kItems;
  OSTRIA_SHARED(int32_t, counts, kDigits);
  for (int64_t block = blockIdx.x; block < p.rows * p.tiles; block += gridDim.x) {
    const int64_t row = block / p.tiles, tile = block % p.tiles;
    for (int d = static_cast<int>(threadIdx.x); d < kDigits; d += kTileThreads) counts[d] = 0;
    __syncthreads();
    for (int i = 0; i < kItems; ++i) {
      const int64_t at = tile * kTile + int64_t{i} * kTileThreads + threadIdx.x;
      if (at >= p.n) continue;
      atomicAdd(&counts[DigitOf(static_cast<const Key*>(p.keys)[row * p.n + at], p)], 1);
    }
    __syncthreads();
    for (int d = static_cast<int>(threadIdx.x); d < kDigits; d += kTileThreads) {
      p.counts[(row * kDigits + d) * p.tiles + tile] = counts[d];
    }
    __syncthreads();
  }
}

template <class Key, int kItems>
OSTRIA_DEVICE void Scatter(const RadixParams& p) {
  static_assert(kTileThreads == kDigits, "a thread per digit");
  using Sort = BlockSort<Key, kTileThreads, kItems>;
  using Scan = BlockScan<int32_t, kTileThreads>;
  constexpr int64_t kTile = int64_t{kTileThreads} * kItems;
  OSTRIA_SHARED(typename Sort::Storage, storage, 1);
  OSTRIA_SHARED(typename Scan::Storage, scan, 1);
  OSTRIA_SHARED(int32_t, bases, kDigits);   // where the tile's first item of each digit goes
  OSTRIA_SHARED(int32_t, starts, kDigits);  // its place in the sorted tile
  OSTRIA_SHARED(uint8_t, digits, kTile);
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t block = blockIdx.x; block < p.rows * p.tiles; block += gridDim.x) {
    const int64_t row = block / p.tiles, tile = block % p.tiles;
    int32_t all = 0;
    const int32_t smaller = Scan::ExclusiveSum(p.totals[row * kDigits + thread], &all, &scan[0]);
    bases[thread] = smaller + p.counts[(row * kDigits + thread) * p.tiles + tile];

    Key keys[kItems];
    int32_t positions[kItems];
    for (int i = 0; i < kItems; ++i) {
      const int64_t at = tile * kTile + int64_t{thread} * kItems + i;
      keys[i] = static_cast<Key>(~Key(0));
      positions[i] = 0;
      if (at >= p.n) continue;
      keys[i] = static_cast<const Key*>(p.keys)[row * p.n + at];
      positions[i] =
          p.positions == nullptr ? static_cast<int32_t>(at) : p.positions[row * p.n + at];
    }
    Sort::Run(keys, positions, p.begin, p.end, &storage[0]);
    for (int i = 0; i < kItems; ++i) {
      digits[i * kTileThreads + thread] = static_cast<uint8_t>(DigitOf(keys[i], p));
    }
    __syncthreads();
    for (int i = 0; i < kItems; ++i) {
      const int rank = i * kTileThreads + thread, digit = digits[rank];
      if (rank == 0 || digits[rank - 1] != digit) starts[digit] = rank;
    }
    __syncthreads();
    const int64_t count = min(kTile, p.n - tile * kTile);
    for (int i = 0; i < kItems; ++i) {
      const int rank = i * kTileThreads + thread;
      if (rank >= count) continue;
      const int64_t to = row * p.n + bases[digits[rank]] + rank - starts[digits[rank]];
      static_cast<Key*>(p.dst_keys)[to] = keys[i];
      p.dst_positions[to] = positions[i];
    }
    __syncthreads();
  }
}

}  // namespace

OSTRIA_KERNEL(radix_count_32, RadixParams, kTileThreads) { Count<uint32_t, kTileItems32>(p); }
OSTRIA_KERNEL(radix_count_64, RadixParams, kTileThreads) { Count<uint64_t, kTileItems64>(p); }
OSTRIA_KERNEL(radix_scatter_32, RadixParams, kTileThreads) { Scatter<uint32_t, kTileItems32>(p); }
OSTRIA_KERNEL(radix_scatter_64, RadixParams, kTileThreads) { Scatter<uint64_t, kTileItems64>(p); }

// A warp per digit of a row: counts become the sums of the tiles before.
OSTRIA_KERNEL(radix_scan, RadixParams, kTileThreads) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t warps = blockDim.x / 32, lines = p.rows * kDigits;
  for (int64_t line = blockIdx.x * warps + threadIdx.x / 32; line < lines;
       line += gridDim.x * warps) {
    int32_t* const counts = p.counts + line * p.tiles;
    int32_t before = 0;
    for (int64_t begin = 0; begin < p.tiles; begin += 32) {
      const int64_t tile = begin + lane;
      const int32_t own = tile < p.tiles ? counts[tile] : 0;
      int32_t sum = own;  // of the lanes up to this one
      for (int lanes = 1; lanes < 32; lanes *= 2) {
        const int32_t lower = __shfl_up_sync(~0u, sum, static_cast<unsigned>(lanes));
        if (lane >= lanes) sum += lower;
      }
      if (tile < p.tiles) counts[tile] = before + sum - own;
      before += __shfl_sync(~0u, sum, 31);
    }
    if (lane == 0) p.totals[line] = before;
  }
}

}  // namespace ostria::kernels
