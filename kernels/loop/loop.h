// SPDX-License-Identifier: Apache-2.0
// What generated loops call beside the functors: half types as storage, conversions of op `cast`,
// vectors of up to 16 bytes, random bits and folds. Compiled only as a part of generated sources
// (see types.h).
#pragma once

#include "kernels/loop/types.h"
#include "kernels/scalar/functors.h"
#include "kernels/scalar/int_functors.h"
#include "kernels/scalar/philox.h"

namespace ostria::kernels::loop {

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <class T>
OSTRIA_LOOP_FN T Get(T x) {
  return x;
}
OSTRIA_LOOP_FN float Get(BFloat16 x) { return BitCast<float>(static_cast<uint32_t>(x.bits) << 16); }

/// The value as it is stored in a T: half types are rounded to nearest even, NaN stays NaN.
template <class T>
struct PutAs {
  static OSTRIA_LOOP_FN T Call(T x) { return x; }
};
#if defined(__CUDACC_RTC__)
OSTRIA_LOOP_FN float Get(Float16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
template <>
struct PutAs<Float16> {
  static OSTRIA_LOOP_FN Float16 Call(float x) {
    Float16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
  }
};
template <>
struct PutAs<BFloat16> {
  static OSTRIA_LOOP_FN BFloat16 Call(float x) {
    BFloat16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
  }
};
#else
OSTRIA_LOOP_FN float Get(Float16 x) { return static_cast<float>(BitCast<_Float16>(x.bits)); }
template <>
struct PutAs<Float16> {
  static OSTRIA_LOOP_FN Float16 Call(float x) {
    return {BitCast<uint16_t>(static_cast<_Float16>(x))};
  }
};
template <>
struct PutAs<BFloat16> {
  static OSTRIA_LOOP_FN BFloat16 Call(float x) {
    const uint32_t u = BitCast<uint32_t>(x);
    if (x != x) return {static_cast<uint16_t>((u >> 16) | 0x40u)};
    return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
  }
};
#endif
template <class T, class V>
OSTRIA_LOOP_FN T Put(V x) {
  return PutAs<T>::Call(x);
}

template <class T>
inline constexpr bool kIsFloat = std::is_same_v<T, float> || std::is_same_v<T, double>;

/// As op `cast`: floats truncate and saturate, NaN is 0, bool is `!= 0`.
template <class To, class From>
OSTRIA_LOOP_FN To Convert(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (kIsFloat<From> && !kIsFloat<To>) {
    constexpr int kBits = 8 * sizeof(To);
    constexpr bool kSigned = std::is_signed_v<To>;
    constexpr To kMin = kSigned ? static_cast<To>(1ull << (kBits - 1)) : To(0);
    constexpr To kMax = static_cast<To>(~0ull >> (64 - kBits + (kSigned ? 1 : 0)));
    if (x != x) return 0;
    if (x <= static_cast<From>(kMin)) return kMin;
    if (x >= static_cast<From>(kMax)) return kMax;
    return static_cast<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

/// Whether vectors of `kBytes` may be read and written at `p`.
template <int kBytes>
OSTRIA_LOOP_FN bool Aligned(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % kBytes == 0;
}

template <int kBytes>
struct WordOf {
  using type = uint4;
};
template <>
struct WordOf<8> {
  using type = uint2;
};
template <>
struct WordOf<4> {
  using type = uint32_t;
};
template <>
struct WordOf<2> {
  using type = uint16_t;
};
template <>
struct WordOf<1> {
  using type = uint8_t;
};

/// kCount elements, a power of two of them, in accesses of at most 16 bytes.
template <int kCount, class T>
OSTRIA_LOOP_FN void LoadVector(T* to, const T* from) {
  constexpr int kBytes = kCount * static_cast<int>(sizeof(T)), kWords = kBytes / 16;
  using Word = typename WordOf<kBytes>::type;
  OSTRIA_UNROLL
  for (int i = 0; i < (kWords > 0 ? kWords : 1); ++i) {
    const Word word = reinterpret_cast<const Word*>(from)[i];
    memcpy(reinterpret_cast<char*>(to) + i * sizeof(Word), &word, sizeof word);
  }
}
template <int kCount, class T>
OSTRIA_LOOP_FN void StoreVector(T* to, const T* from) {
  constexpr int kBytes = kCount * static_cast<int>(sizeof(T)), kWords = kBytes / 16;
  using Word = typename WordOf<kBytes>::type;
  OSTRIA_UNROLL
  for (int i = 0; i < (kWords > 0 ? kWords : 1); ++i) {
    Word word;
    memcpy(&word, reinterpret_cast<const char*>(from) + i * sizeof(Word), sizeof word);
    reinterpret_cast<Word*>(to)[i] = word;
  }
}

struct DrawKey {
  uint64_t key, step;
};
OSTRIA_LOOP_FN DrawKey ReadKey(const int64_t* numbers, uint64_t stream) {
  return {static_cast<uint64_t>(numbers[0]) ^ stream, static_cast<uint64_t>(numbers[1])};
}
OSTRIA_LOOP_FN void DrawWords(uint32_t words[4], const DrawKey& k, uint64_t block) {
  words[0] = static_cast<uint32_t>(block);
  words[1] = static_cast<uint32_t>(block >> 32);
  words[2] = static_cast<uint32_t>(k.step);
  words[3] = static_cast<uint32_t>(k.step >> 32);
  Philox(words, static_cast<uint32_t>(k.key), static_cast<uint32_t>(k.key >> 32));
}
/// Of elements first.. of the random numbers: whether their words are below `limit`.
template <int kCount>
OSTRIA_LOOP_FN void Draw(bool* drawn, const DrawKey& k, uint64_t first, uint64_t limit) {
  if (kCount % 4 == 0 && first % 4 == 0) {
    OSTRIA_UNROLL
    for (int i = 0; i < kCount / 4; ++i) {
      uint32_t words[4];
      DrawWords(words, k, first / 4 + i);
      OSTRIA_UNROLL
      for (int j = 0; j < 4; ++j) drawn[4 * i + j] = words[j] < limit;
    }
  } else {
    OSTRIA_UNROLL
    for (int i = 0; i < kCount; ++i) {
      uint32_t words[4];
      DrawWords(words, k, (first + i) / 4);
      const unsigned at = static_cast<unsigned>(first + i) % 4;
      const uint32_t low = at == 0 ? words[0] : words[1], high = at == 2 ? words[2] : words[3];
      drawn[i] = (at < 2 ? low : high) < limit;
    }
  }
}

// --- Folds

template <class T>
OSTRIA_LOOP_FN T Lowest() {
  if constexpr (kIsFloat<T>) {
    return -Infinity<T>();
  } else {
    return std::is_signed_v<T> ? static_cast<T>(1ull << (8 * sizeof(T) - 1)) : T(0);
  }
}
template <class T>
OSTRIA_LOOP_FN T Highest() {
  if constexpr (kIsFloat<T>) {
    return Infinity<T>();
  } else {
    return static_cast<T>(~0ull >> (64 - 8 * sizeof(T) + (std::is_signed_v<T> ? 1 : 0)));
  }
}

// `Call` is a functor, so that folds treat overflow and NaN as elements do.
template <ScalarOp op>
struct Fold {
  template <class T>
  static OSTRIA_LOOP_FN T Start() {
    if constexpr (op == ScalarOp::kMaximum) {
      return Lowest<T>();
    } else if constexpr (op == ScalarOp::kMinimum) {
      return Highest<T>();
    } else {
      return T(op == ScalarOp::kMultiply);
    }
  }
  template <class T>
  static OSTRIA_LOOP_FN T Call(T a, T b) {
    if constexpr (kIsFloat<T>) {
      return Functor<op>::Call(a, b);
    } else {
      return IntFunctor<op>::Call(a, b);
    }
  }
};
using FoldSum = Fold<ScalarOp::kAdd>;
using FoldProd = Fold<ScalarOp::kMultiply>;
using FoldMax = Fold<ScalarOp::kMaximum>;
using FoldMin = Fold<ScalarOp::kMinimum>;

template <class T>
OSTRIA_LOOP_FN T FromLane(T x, int lanes) {
  if constexpr (sizeof(T) < 4) {
    return static_cast<T>(__shfl_xor_sync(0xffffffffu, static_cast<int>(x), lanes));
  } else {
    return __shfl_xor_sync(0xffffffffu, x, lanes);
  }
}

/// Over kLanes neighbours (a power of two, at most 32), always in the same order; all get it.
template <class Fold, int kLanes, class T>
OSTRIA_LOOP_FN T FoldLanes(T x) {
  OSTRIA_UNROLL
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) x = Fold::Call(x, FromLane(x, lanes));
  return x;
}
/// Over a block of kThreads, through one number per warp in `parts`, which nobody may still read.
/// There is a barrier inside.
template <class Fold, int kThreads, class T>
OSTRIA_LOOP_FN T FoldBlock(T x, T* parts) {
  x = FoldLanes<Fold, 32>(x);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  constexpr int kWarps = kThreads / 32;
  const int lane = static_cast<int>(threadIdx.x % 32);
  x = lane < kWarps ? parts[lane] : Fold::template Start<T>();
  return FoldLanes<Fold, 32>(x);
}

// --- Clusters: blocks that run at the same time, and may read each other's shared memory

#if defined(__CUDACC_RTC__)
/// A barrier of all threads of the cluster, behind which they see what all of them wrote.
OSTRIA_LOOP_FN void SyncCluster() {
  asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
}
/// The place that `at` is in shared memory, in that of block `rank`.
template <class T>
OSTRIA_LOOP_FN const T* SharedOf(unsigned rank, const T* at) {
  const T* there;
  asm volatile("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(at), "r"(rank));
  return there;
}
#else
using host::SyncCluster;
template <class T>
OSTRIA_LOOP_FN const T* SharedOf(unsigned rank, const T* at) {
  return static_cast<const T*>(host::SharedOf(rank, at));
}
#endif

/// As FoldBlock, over two blocks of a cluster: first that of rank 0. `parts` lie in dynamic shared
/// memory; a block may end only behind a further barrier.
template <class Fold, int kThreads, class T>
OSTRIA_LOOP_FN T FoldCluster(T x, T* parts) {
  x = FoldLanes<Fold, 32>(x);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  SyncCluster();
  constexpr int kWarps = kThreads / 32;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const T none = Fold::template Start<T>();
  const T first = lane < kWarps ? *SharedOf(0, parts + lane) : none;
  const T second = lane < kWarps ? *SharedOf(1, parts + lane) : none;
  return Fold::Call(FoldLanes<Fold, 32>(first), FoldLanes<Fold, 32>(second));
}

// --- Exponentials below the largest number

/// Whether it is neither infinite nor NaN.
template <class T>
OSTRIA_LOOP_FN bool IsFinite(T x) {
  return x - x == T(0);
}

/// The largest of some numbers, and the sum of exp(scale * (x - largest)), which shrinks whenever a
/// larger one comes: see ExponentialSum for numbers that are not finite.
template <class T>
struct Exponentials {
  T largest = -Infinity<T>(), sum = T(0);

  template <int kCount>
  OSTRIA_LOOP_FN void Add(const T (&x)[kCount], T scale) {
    T now = largest;
    OSTRIA_UNROLL
    for (int j = 0; j < kCount; ++j) now = FoldMax::Call(now, x[j]);
    if (!(now == largest)) {
      sum = Below(now, scale);
      largest = now;
    }
    const T top = Top(now);
    OSTRIA_UNROLL
    for (int j = 0; j < kCount; ++j) sum += Exp(scale * (x[j] - top));
  }
  /// The sum of exp(scale * (x - most)), `most` being at least the largest.
  OSTRIA_LOOP_FN T Below(T most, T scale) const { return sum * Exp(scale * (largest - Top(most))); }

 private:
  // Below -inf there is no difference to take: it adds exp(-inf).
  static OSTRIA_LOOP_FN T Top(T most) { return IsFinite(most) ? most : T(0); }
};

/// `sum` is that of exp(scale * (x - most)) where `most` is finite. Otherwise it is what adding up
/// in a second pass would give: NaN, or where what is subtracted is finite all the same
/// (`kGuarded`) 0, inf and NaN for -inf, inf and NaN.
template <bool kGuarded, class T>
OSTRIA_LOOP_FN T ExponentialSum(T sum, T most) {
  if (IsFinite(most)) return sum;
  return kGuarded ? Exp(most) : most - most;
}

}  // namespace ostria::kernels::loop
