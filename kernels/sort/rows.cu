// SPDX-License-Identifier: Apache-2.0
// Rows that one block sorts, tiles of longer rows of which only the first places are wanted, and
// short rows, in which a lane counts what comes before its element.
#include "kernels/common/block_sort.h"
#include "kernels/sort/keys.h"

namespace ostria::kernels {
namespace {

// `place`: of the element of x at `position` of row `row`; the same for results of `take` places.
OSTRIA_DEVICE int64_t PlaceOf(int64_t row, int64_t position, int64_t axis, int64_t inner) {
  return (row / inner * axis + position) * inner + row % inner;
}

template <class Key, int kThreads, int kItems>
OSTRIA_DEVICE void SortRows(const SortRowsParams& p) {
  using Sort = BlockSort<Key, kThreads, kItems>;
  constexpr int64_t kTile = int64_t{kThreads} * kItems;
  OSTRIA_SHARED(typename Sort::Storage, storage, 1);
  for (int64_t block = blockIdx.x; block < p.rows * p.tiles; block += gridDim.x) {
    const int64_t row = block / p.tiles, tile = block % p.tiles, begin = tile * kTile;
    Key keys[kItems];
    int32_t positions[kItems];
    for (int i = 0; i < kItems; ++i) {
      const int64_t at = begin + int64_t{threadIdx.x} * kItems + i;
      // What is missing is last, behind whatever is equal to it.
      keys[i] = static_cast<Key>(~Key(0));
      positions[i] = INT32_MAX;
      if (at >= p.n) continue;
      positions[i] =
          p.positions == nullptr ? static_cast<int32_t>(at) : p.positions[row * p.n + at];
      keys[i] = p.keys == nullptr ? KeyAt<Key>(p.x, PlaceOf(row, at, p.axis, p.inner), p.law)
                                  : static_cast<const Key*>(p.keys)[row * p.n + at];
    }
    Sort::Run(keys, positions, 0, p.bits, &storage[0]);
    for (int i = 0; i < kItems; ++i) {
      const int64_t rank = int64_t{i} * kThreads + threadIdx.x;
      if (rank >= p.take) continue;
      const int64_t to = (row * p.tiles + tile) * p.take + rank;
      if (p.dst_keys != nullptr) static_cast<Key*>(p.dst_keys)[to] = keys[i];
      if (p.dst_positions != nullptr) p.dst_positions[to] = positions[i];
      const int64_t place = PlaceOf(row, rank, p.take, p.inner);
      if (p.values != nullptr) {
        CopyElement(p.x, PlaceOf(row, positions[i], p.axis, p.inner), p.values, place, p.law.bytes);
      }
      if (p.indices != nullptr) p.indices[place] = positions[i];
    }
    __syncthreads();
  }
}

}  // namespace

OSTRIA_KERNEL(sort_rows_small_32, SortRowsParams, kSmallThreads) {
  SortRows<uint32_t, kSmallThreads, kSmallItems>(p);
}
OSTRIA_KERNEL(sort_rows_small_64, SortRowsParams, kSmallThreads) {
  SortRows<uint64_t, kSmallThreads, kSmallItems>(p);
}
OSTRIA_KERNEL(sort_rows_tile_32, SortRowsParams, kTileThreads) {
  SortRows<uint32_t, kTileThreads, kTileItems32>(p);
}
OSTRIA_KERNEL(sort_rows_tile_64, SortRowsParams, kTileThreads) {
  SortRows<uint64_t, kTileThreads, kTileItems64>(p);
}

// A warp per row of at most kShortRow elements.
OSTRIA_KERNEL(sort_rows_short, SortRowsParams, 256) {
  OSTRIA_SHARED(uint64_t, shared, 8 * kShortRow);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int n = static_cast<int>(p.n), warps = static_cast<int>(blockDim.x / 32);
  uint64_t* const keys = shared + warp * kShortRow;
  for (int64_t row = int64_t{blockIdx.x} * warps + warp; row < p.rows;
       row += int64_t{gridDim.x} * warps) {
    __syncwarp();
    for (int i = lane; i < n; i += 32) {
      keys[i] = KeyAt<uint64_t>(p.x, PlaceOf(row, i, n, p.inner), p.law);
    }
    __syncwarp();
    for (int i = lane; i < n; i += 32) {
      const uint64_t key = keys[i];
      int rank = 0;
      for (int j = 0; j < n; ++j) rank += keys[j] < key || (keys[j] == key && j < i) ? 1 : 0;
      if (rank >= p.take) continue;
      const int64_t place = PlaceOf(row, rank, p.take, p.inner);
      if (p.values != nullptr) {
        CopyElement(p.x, PlaceOf(row, i, n, p.inner), p.values, place, p.law.bytes);
      }
      if (p.indices != nullptr) p.indices[place] = i;
    }
  }
}

}  // namespace ostria::kernels
