// SPDX-License-Identifier: Apache-2.0
// Sorting and scanning within a block: CUB's block-level primitives on the device, plain loops of
// one thread on the host. All threads of the block call; storage is shared memory, and needs a
// barrier before it is used again.
#pragma once

#include "kernels/common/kernel.h"

#if defined(__CUDACC__)
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_scan.cuh>
#elif defined(OSTRIA_KERNEL_CODE)
#include <algorithm>
#include <utility>
#endif

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

/// Sorts kThreads * kItems unsigned keys with a value each by bits [begin, end), stably. Item i of
/// thread t is number t * kItems + i before, and number i * kThreads + t after.
template <class Key, int kThreads, int kItems>
struct BlockSort {
#if defined(__CUDACC__)
  using Cub = cub::BlockRadixSort<Key, kThreads, kItems, int32_t>;
  using Storage = typename Cub::TempStorage;
#else
  struct Storage {
    std::pair<Key, int32_t> items[kThreads * kItems];
  };
#endif

  static OSTRIA_DEVICE void Run(Key (&keys)[kItems], int32_t (&values)[kItems], int begin, int end,
                                Storage* storage) {
#if defined(__CUDACC__)
    Cub(*storage).SortBlockedToStriped(keys, values, begin, end);
#else
    const auto thread = static_cast<int>(threadIdx.x);
    for (int i = 0; i < kItems; ++i) storage->items[thread * kItems + i] = {keys[i], values[i]};
    __syncthreads();
    if (thread == 0) {
      const int left = 8 * static_cast<int>(sizeof(Key)) - (end - begin);
      const auto digits = [&](const auto& item) {
        return end == begin ? Key(0) : static_cast<Key>((item.first >> begin) << left);
      };
      std::stable_sort(storage->items, storage->items + kThreads * kItems,
                       [&](const auto& a, const auto& b) { return digits(a) < digits(b); });
    }
    __syncthreads();
    for (int i = 0; i < kItems; ++i) {
      keys[i] = storage->items[i * kThreads + thread].first;
      values[i] = storage->items[i * kThreads + thread].second;
    }
#endif
  }
};

/// Sums of what lower threads give.
template <class T, int kThreads>
struct BlockScan {
#if defined(__CUDACC__)
  using Cub = cub::BlockScan<T, kThreads>;
  using Storage = typename Cub::TempStorage;
#else
  struct Storage {
    T x[kThreads], total;
  };
#endif

  /// `total`: receives the sum over the block.
  static OSTRIA_DEVICE T ExclusiveSum(T x, T* total, Storage* storage) {
#if defined(__CUDACC__)
    T before;
    Cub(*storage).ExclusiveSum(x, before, *total);
    return before;
#else
    storage->x[threadIdx.x] = x;
    __syncthreads();
    if (threadIdx.x == 0) {
      T sum = 0;
      for (T& each : storage->x) each = std::exchange(sum, sum + each);
      storage->total = sum;
    }
    __syncthreads();
    const T before = storage->x[threadIdx.x];
    *total = storage->total;
    return before;
#endif
  }
};

}  // namespace ostria::kernels

#endif
