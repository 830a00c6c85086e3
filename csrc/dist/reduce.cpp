// SPDX-License-Identifier: Apache-2.0
#include "dist/reduce.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
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

// out = a (op) b; `out` may be either. The left operand wins ties and NaN wins over numbers,
// whatever the order. One element at a time in meaning, so every instruction set gives these bits.
template <class W>
[[gnu::always_inline]] inline void CombineLoop(ReduceOp op, W* out, const W* a, const W* b,
                                               int64_t n) {
  switch (op) {
    case ReduceOp::kSum:
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<W>(a[i] + b[i]);
      break;
    case ReduceOp::kMin:
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) out[i] = b[i] < a[i] || b[i] != b[i] ? b[i] : a[i];
      break;
    case ReduceOp::kMax:
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) out[i] = b[i] > a[i] || b[i] != b[i] ? b[i] : a[i];
      break;
  }
}
template <class To, class From>
[[gnu::always_inline]] inline void CastLoop(To* to, const From* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(from[i]);
}

#if defined(__x86_64__)
#define OSTRIA_AVX2 [[gnu::target("avx2")]]
#define OSTRIA_AVX512 [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")]]
template <class W>
OSTRIA_AVX2 void CombineAvx2(ReduceOp op, W* out, const W* a, const W* b, int64_t n) {
  CombineLoop(op, out, a, b, n);
}
template <class W>
OSTRIA_AVX512 void CombineAvx512(ReduceOp op, W* out, const W* a, const W* b, int64_t n) {
  CombineLoop(op, out, a, b, n);
}
template <class To, class From>
OSTRIA_AVX2 void CastAvx2(To* to, const From* from, int64_t n) {
  CastLoop(to, from, n);
}
template <class To, class From>
OSTRIA_AVX512 void CastAvx512(To* to, const From* from, int64_t n) {
  CastLoop(to, from, n);
}

// 0, 1 or 2: plain, AVX2, AVX-512; what the CPU has and OSTRIA_ISA allows.
int FindLevel() {
  const char* text = std::getenv("OSTRIA_ISA");
  const std::string_view limit = text == nullptr ? "" : text;
  if (limit == "baseline" || !__builtin_cpu_supports("avx2")) return 0;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return wide && limit != "avx2" ? 2 : 1;
}
#endif

template <class W>
void Combine(ReduceOp op, W* out, const W* a, const W* b, int64_t n) {
#if defined(__x86_64__)
  static const int level = FindLevel();
  if (level == 2) return CombineAvx512(op, out, a, b, n);
  if (level == 1) return CombineAvx2(op, out, a, b, n);
#endif
  CombineLoop(op, out, a, b, n);
}
template <class To, class From>
void Cast(To* to, const From* from, int64_t n) {
#if defined(__x86_64__)
  static const int level = FindLevel();
  if (level == 2) return CastAvx512(to, from, n);
  if (level == 1) return CastAvx2(to, from, n);
#endif
  CastLoop(to, from, n);
}

// Reduces one tile of all `at` into `result`; `tiles` has room for half of them.
template <class W>
void ReduceTile(std::span<const W*> at, W* tiles, W* result, int64_t n, ReduceOp op) {
  size_t left = at.size();
  if (left == 1 && result != at[0]) std::memcpy(result, at[0], static_cast<size_t>(n) * sizeof(W));
  while (left > 1) {
    size_t next = 0;
    for (size_t r = 0; r < left; r += 2, ++next) {
      if (r + 1 == left) {
        at[next] = at[r];
        continue;
      }
      W* const to = left == 2 ? result : tiles + next * kTile;
      Combine(op, to, at[r], at[r + 1], n);
      at[next] = to;
    }
    left = next;
  }
}

template <class T>
void Reduce(std::span<const void* const> in, std::span<void* const> out, int64_t begin, int64_t end,
            ReduceOp op) {
  using W = Wide<T>;
  constexpr bool kNarrow = !std::is_same_v<T, W>;
  const size_t n = in.size();
  // Half types: a tile for each rank, and the result; others: one for each pair but the last. Kept,
  // so that a step allocates nothing.
  static thread_local std::vector<W> tiles;
  static thread_local std::vector<const W*> at;
  const size_t needed = kNarrow ? (n + 1) * kTile : n > 2 ? (n / 2) * kTile : 0;
  if (tiles.size() < needed) tiles.resize(needed);
  at.resize(n);
  for (int64_t first = begin; first < end; first += kTile) {
    const int64_t length = std::min(kTile, end - first);
    T* const result = static_cast<T*>(out[0]) + first;
    if constexpr (kNarrow) {
      for (size_t r = 0; r < n; ++r) {
        W* const to = tiles.data() + r * kTile;
        Cast(to, static_cast<const T*>(in[r]) + first, length);
        at[r] = to;
      }
      W* const sum = tiles.data() + n * kTile;
      ReduceTile<W>(at, tiles.data(), sum, length, op);
      Cast(result, sum, length);
    } else {
      for (size_t r = 0; r < n; ++r) at[r] = static_cast<const T*>(in[r]) + first;
      ReduceTile<W>(at, tiles.data(), result, length, op);
    }
    for (void* to : out.subspan(1)) {
      std::memmove(static_cast<T*>(to) + first, result, static_cast<size_t>(length) * sizeof(T));
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
