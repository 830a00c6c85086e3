// SPDX-License-Identifier: Apache-2.0
// A thread draws a block of Philox words and makes of it four numbers (two of 64 bits). The bits
// are the CPU's: products and sums round separately (-fmad=false), half types are drawn as float.
#include "kernels/random/random.h"

#include "kernels/common/chunk.h"
#include "kernels/common/dtype.h"
#include "kernels/random/draw.h"
#include "kernels/scalar/distributions.h"

namespace ostria::kernels {
namespace {

struct UniformLaw {
  static OSTRIA_DEVICE float Of(uint32_t word, float low, float high) {
    // Rounding may reach the open end; such a draw becomes the closed one.
    const float v = MulThenAdd(UniformFromBits<float>(word), high - low, low);
    return v < high ? v : low;
  }
  static OSTRIA_DEVICE double Of(uint64_t word, double low, double high) {
    const double v = low + UniformFromBits64(word) * (high - low);
    return v < high ? v : low;
  }
};
struct NormalLaw {
  static OSTRIA_DEVICE float Of(uint32_t word, float mean, float deviation) {
    return MulThenAdd(NormalFromBits<float>(word), deviation, mean);
  }
  static OSTRIA_DEVICE double Of(uint64_t word, double mean, double deviation) {
    return mean + deviation * NormalFromBits64(word);
  }
};
struct TruncatedNormalLaw {
  static OSTRIA_DEVICE float Of(uint32_t word, float mean, float deviation) {
    return MulThenAdd(TruncatedNormalFromBits<float>(word), deviation, mean);
  }
  static OSTRIA_DEVICE double Of(uint64_t word, double mean, double deviation) {
    return mean + deviation * TruncatedNormalFromBits64(word);
  }
};

// Calls make(words, i, element) for the i-th element of every block; its result is written.
template <int kEach, class T, class Make>
OSTRIA_DEVICE void ForBlocks(const RandomParams& p, Make make) {
  using Group = Chunk<T, kEach>;
  T* const dst = static_cast<T*>(p.dst);
  const T* const src = static_cast<const T*>(p.src);
  const uint64_t first = static_cast<uint64_t>(*p.first_row) * static_cast<uint64_t>(p.row);
  const auto skip = static_cast<int64_t>(first % kEach);
  const int64_t blocks = p.elements == 0 ? 0 : (skip + p.elements + kEach - 1) / kEach;
  // All groups lie alike: they begin at multiples of their size from the element that is missing.
  const auto skipped = static_cast<uintptr_t>(skip) * sizeof(T);
  const bool aligned =
      (reinterpret_cast<uintptr_t>(dst) - skipped) % alignof(Group) == 0 &&
      (src == nullptr || (reinterpret_cast<uintptr_t>(src) - skipped) % alignof(Group) == 0);
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < blocks; i += threads) {
    uint32_t words[4];
    DrawBlock(p.key, p.stream, first / kEach + static_cast<uint64_t>(i), words);
    const int64_t at = i * kEach - skip;
    const bool whole = aligned && at >= 0 && at + kEach <= p.elements;
    if (whole) {
      Group group{};
      if (src != nullptr) group = *reinterpret_cast<const Group*>(src + at);
      for (int k = 0; k < kEach; ++k) group.x[k] = Narrow<T>(make(words, k, group.x[k]));
      *reinterpret_cast<Group*>(dst + at) = group;
    } else {
      for (int k = 0; k < kEach; ++k) {
        if (at + k < 0 || at + k >= p.elements) continue;
        dst[at + k] = Narrow<T>(make(words, k, src != nullptr ? src[at + k] : T{}));
      }
    }
  }
}

template <class Law, class T>
OSTRIA_DEVICE void Draw(const RandomParams& p) {
  if constexpr (sizeof(T) == 8) {
    ForBlocks<2, T>(p, [&](const uint32_t(&words)[4], int i, T) {
      return Law::Of(WideWord(words, i), p.a, p.b);
    });
  } else {
    const float a = static_cast<float>(p.a), b = static_cast<float>(p.b);
    ForBlocks<4, T>(p,
                    [&](const uint32_t(&words)[4], int i, T) { return Law::Of(words[i], a, b); });
  }
}

// One word per element whatever its size, so that every dtype drops the same elements.
template <class T>
OSTRIA_DEVICE void Dropout(const RandomParams& p) {
  const auto factor = static_cast<Compute<T>>(p.b);
  ForBlocks<4, T>(p, [&](const uint32_t(&words)[4], int i, T x) {
    return words[i] < p.limit ? Widen(x) * factor : Compute<T>(0);
  });
}

}  // namespace

#define OSTRIA_DRAWS(name, Law)                                           \
  OSTRIA_KERNEL(name##_f32, RandomParams, 256) { Draw<Law, float>(p); }   \
  OSTRIA_KERNEL(name##_f64, RandomParams, 256) { Draw<Law, double>(p); }  \
  OSTRIA_KERNEL(name##_f16, RandomParams, 256) { Draw<Law, Float16>(p); } \
  OSTRIA_KERNEL(name##_bf16, RandomParams, 256) { Draw<Law, BFloat16>(p); }
OSTRIA_DRAWS(random_uniform, UniformLaw)
OSTRIA_DRAWS(random_normal, NormalLaw)
OSTRIA_DRAWS(truncated_normal, TruncatedNormalLaw)
#undef OSTRIA_DRAWS
OSTRIA_KERNEL(dropout_f32, RandomParams, 256) { Dropout<float>(p); }
OSTRIA_KERNEL(dropout_f64, RandomParams, 256) { Dropout<double>(p); }
OSTRIA_KERNEL(dropout_f16, RandomParams, 256) { Dropout<Float16>(p); }
OSTRIA_KERNEL(dropout_bf16, RandomParams, 256) { Dropout<BFloat16>(p); }

}  // namespace ostria::kernels
