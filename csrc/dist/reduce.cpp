// SPDX-License-Identifier: Apache-2.0
#include "dist/reduce.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace ostria {
namespace {

constexpr int64_t kTile = 2048;  // elements: a few tiles stay in the first cache

// What elements are added in.
template <class T>
using Wide =
    std::conditional_t<std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>, float, T>;

// The left operand wins ties and NaN wins over numbers, whatever the order.
template <class W>
void Combine(ReduceOp op, W* a, const W* b, int64_t n) {
  switch (op) {
    case ReduceOp::kSum:
      for (int64_t i = 0; i < n; ++i) a[i] = static_cast<W>(a[i] + b[i]);
      break;
    case ReduceOp::kMin:
      for (int64_t i = 0; i < n; ++i) a[i] = b[i] < a[i] || b[i] != b[i] ? b[i] : a[i];
      break;
    case ReduceOp::kMax:
      for (int64_t i = 0; i < n; ++i) a[i] = b[i] > a[i] || b[i] != b[i] ? b[i] : a[i];
      break;
  }
}

template <class T>
void Reduce(std::span<const void* const> in, std::span<void* const> out, int64_t begin, int64_t end,
            ReduceOp op) {
  using W = Wide<T>;
  const size_t n = in.size();
  std::vector<W> tiles(n * kTile);
  for (int64_t at = begin; at < end; at += kTile) {
    const int64_t length = std::min(kTile, end - at);
    for (size_t r = 0; r < n; ++r) {
      const T* from = static_cast<const T*>(in[r]) + at;
      W* to = tiles.data() + r * kTile;
      for (int64_t i = 0; i < length; ++i) to[i] = static_cast<W>(from[i]);
    }
    for (size_t step = 1; step < n; step *= 2) {
      for (size_t r = 0; r + step < n; r += 2 * step) {
        Combine(op, tiles.data() + r * kTile, tiles.data() + (r + step) * kTile, length);
      }
    }
    for (void* to : out) {
      T* first = static_cast<T*>(to) + at;
      for (int64_t i = 0; i < length; ++i) first[i] = static_cast<T>(tiles[i]);
    }
  }
}

}  // namespace

void ReduceTree(std::span<const void* const> in, std::span<void* const> out, int64_t begin,
                int64_t end, DType dtype, ReduceOp op) {
  DispatchDType(dtype, [&]<class T>(T*) {
    if constexpr (std::is_same_v<T, bool>)
      Fail(ErrorCode::kTypeError, "cannot reduce bool over ranks; cast it to int32");
    else
      Reduce<T>(in, out, begin, end, op);
  });
}

}  // namespace ostria
