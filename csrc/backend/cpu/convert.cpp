// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/elementwise_table.h"
#include "base/parallel.h"

namespace ostria::cpu {
namespace {

constexpr int64_t kGrain = 1 << 16;  // elements worth a thread
constexpr int64_t kChunk = 512;      // floats between half storage and another dtype

template <class To, class From>
inline To ConvertOne(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // Both limits are exact in From: the upper one is the first value that no longer fits.
    constexpr From kLow = static_cast<From>(std::numeric_limits<To>::min());
    constexpr int kBits = std::numeric_limits<To>::digits;
    constexpr From kAbove = static_cast<From>(uint64_t{1} << (kBits - 1)) * From(2);
    if (!(x > kLow)) return x != x ? To(0) : std::numeric_limits<To>::min();
    return x < kAbove ? static_cast<To>(x) : std::numeric_limits<To>::max();
  } else {
    return static_cast<To>(x);
  }
}

template <class From, class To>
void Loop(const void* src, void* dst, int64_t n) {
  const From* x = static_cast<const From*>(src);
  To* y = static_cast<To*>(dst);
  for (int64_t i = 0; i < n; ++i) y[i] = ConvertOne<To>(x[i]);
}

using LoopFn = void (*)(const void* src, void* dst, int64_t n);

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;

bool IsHalf(DType t) { return t == DType::kFloat16 || t == DType::kBFloat16; }

// Half storage counts as float here: it is widened or narrowed around the loop.
LoopFn LoopFor(DType from, DType to) {
  LoopFn fn = nullptr;
  if (IsHalf(from)) from = DType::kFloat32;
  if (IsHalf(to)) to = DType::kFloat32;
  DispatchDType(from, [&]<class F>(F*) {
    DispatchDType(to, [&]<class T>(T*) {
      if constexpr (!kIsHalf<F> && !kIsHalf<T>) fn = Loop<F, T>;
    });
  });
  return fn;
}

const ElementwiseTable& Table() {
  switch (CurrentIsa()) {
    case Isa::kAvx512: return kElementwiseAvx512;
    case Isa::kAvx2: return kElementwiseAvx2;
    case Isa::kBaseline: break;
  }
  return kElementwiseBaseline;
}

int HalfIndex(DType t) { return t == DType::kBFloat16; }

void Range(const std::byte* src, DType from, std::byte* dst, DType to, LoopFn loop, int64_t n) {
  if (!IsHalf(from) && !IsHalf(to)) return loop(src, dst, n);
  const ElementwiseTable& table = Table();
  alignas(64) float wide_in[kChunk], wide_out[kChunk];
  for (int64_t i = 0; i < n; i += kChunk) {
    const int64_t m = std::min(kChunk, n - i);
    const void* x = src + i * SizeOf(from);
    if (IsHalf(from)) {
      table.from_half[HalfIndex(from)](static_cast<const uint16_t*>(x), wide_in, m);
      x = wide_in;
    }
    std::byte* y = dst + i * SizeOf(to);
    loop(x, IsHalf(to) ? static_cast<void*>(wide_out) : y, m);
    if (IsHalf(to)) {
      table.to_half[HalfIndex(to)](wide_out, reinterpret_cast<uint16_t*>(y), m);
    }
  }
}

}  // namespace

void Convert(const void* src, DType from, void* dst, DType to, int64_t n) {
  const auto* x = static_cast<const std::byte*>(src);
  auto* y = static_cast<std::byte*>(dst);
  const LoopFn loop = LoopFor(from, to);
  ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
    const std::byte* x0 = x + begin * SizeOf(from);
    std::byte* y0 = y + begin * SizeOf(to);
    if (from == to) {
      if (x0 != y0) std::memcpy(y0, x0, static_cast<size_t>((end - begin) * SizeOf(from)));
      return;
    }
    Range(x0, from, y0, to, loop, end - begin);
  });
}

void ConvertScalar(double value, DType to, void* dst) {
  Range(reinterpret_cast<const std::byte*>(&value), DType::kFloat64, static_cast<std::byte*>(dst),
        to, LoopFor(DType::kFloat64, to), 1);
}

}  // namespace ostria::cpu
