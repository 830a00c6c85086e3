// SPDX-License-Identifier: Apache-2.0
// What stands before and after the passes of a radix sort, and searches in what is sorted.
#include "kernels/sort/keys.h"

namespace ostria::kernels {
namespace {

template <class Key>
OSTRIA_DEVICE void MakeKeys(const SortMoveParams& p) {
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.rows * p.n; i += threads) {
    // In the order of x, whose elements stand [outer, n, inner].
    const int64_t k = i % p.inner, at = i / p.inner % p.n, o = i / p.inner / p.n;
    static_cast<Key*>(p.keys)[(o * p.inner + k) * p.n + at] = KeyAt<Key>(p.x, i, p.law);
  }
}

template <class Key>
OSTRIA_DEVICE void Search(const SearchParams& p) {
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.count; i += threads) {
    const Key key = KeyAt<Key>(p.values, i, p.law);
    int64_t low = 0, high = p.n;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      const Key own = KeyAt<Key>(p.x, middle, p.law);
      if (own < key || (p.right != 0 && own == key)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    p.dst[i] = low;
  }
}

}  // namespace

OSTRIA_KERNEL(sort_keys_32, SortMoveParams, 256) { MakeKeys<uint32_t>(p); }
OSTRIA_KERNEL(sort_keys_64, SortMoveParams, 256) { MakeKeys<uint64_t>(p); }
OSTRIA_KERNEL(search_32, SearchParams, 256) { Search<uint32_t>(p); }
OSTRIA_KERNEL(search_64, SearchParams, 256) { Search<uint64_t>(p); }

OSTRIA_KERNEL(sort_take, SortMoveParams, 256) {
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  const int64_t count = p.rows * p.take;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += threads) {
    const int64_t k = i % p.inner, rank = i / p.inner % p.take, o = i / p.inner / p.take;
    const int64_t at = p.positions[(o * p.inner + k) * p.n + rank];
    if (p.values != nullptr) {
      CopyElement(p.x, (o * p.n + at) * p.inner + k, p.values, i, p.law.bytes);
    }
    if (p.indices != nullptr) p.indices[i] = at;
  }
}

}  // namespace ostria::kernels
