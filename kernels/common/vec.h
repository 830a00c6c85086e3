// SPDX-License-Identifier: Apache-2.0
// Ranges of elements as 16-byte vectors: what lies before the first boundary and after the last
// vector is taken element by element, everything where the operands are skewed differently.
#pragma once

#include "kernels/common/dtype.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

/// Elements of T in a vector.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

/// A number of elements that is known at compile time.
template <int kElements>
struct Count {
  static constexpr int value = kElements;
};

/// `head` single elements, `vectors` vectors, then single elements up to `n`.
struct VectorSplit {
  int64_t n = 0, head = 0, vectors = 0;
};

OSTRIA_DEVICE unsigned SkewOf(const void* at) {
  return static_cast<unsigned>(reinterpret_cast<uintptr_t>(at) % 16);
}

/// How `n` elements of T split that begin at each of `first` and `more`.
template <class T, class... More>
OSTRIA_DEVICE VectorSplit SplitVectors(int64_t n, const T* first, const More*... more) {
  static_assert(((sizeof(T) == sizeof(More)) && ...));
  const unsigned skew = SkewOf(first);
  if (skew % sizeof(T) != 0 || (... || (SkewOf(more) != skew))) return {n, n, 0};
  const int64_t to_boundary = skew == 0 ? 0 : static_cast<int64_t>((16 - skew) / sizeof(T));
  const int64_t head = min(n, to_boundary);
  return {n, head, (n - head) / kVector<T>};
}

/// Calls fn(first element, Count<…>) for each part of `split` that is thread `thread`'s of
/// `threads`.
template <class T, class Fn>
OSTRIA_DEVICE void ForVectors(const VectorSplit& split, int64_t thread, int64_t threads, Fn fn) {
  for (int64_t i = thread; i < split.vectors; i += threads) {
    fn(split.head + i * kVector<T>, Count<kVector<T>>());
  }
  for (int64_t i = thread; i < split.head; i += threads) fn(i, Count<1>());
  for (int64_t i = split.head + split.vectors * kVector<T> + thread; i < split.n; i += threads) {
    fn(i, Count<1>());
  }
}

/// Loads one element, or a vector that begins at a 16-byte boundary.
template <class T>
OSTRIA_DEVICE void LoadVector(const T* at, Compute<T> (&x)[1]) {
  x[0] = Load(at);
}
template <class T>
OSTRIA_DEVICE void LoadVector(const T* at, Compute<T> (&x)[kVector<T>]) {
  union {
    uint4 bits;
    T elements[kVector<T>];
  } v;
  v.bits = *reinterpret_cast<const uint4*>(at);
  for (int i = 0; i < kVector<T>; ++i) x[i] = Widen(v.elements[i]);
}
template <class T>
OSTRIA_DEVICE void StoreVector(T* at, const Compute<T> (&x)[1]) {
  Store(at, x[0]);
}
template <class T>
OSTRIA_DEVICE void StoreVector(T* at, const Compute<T> (&x)[kVector<T>]) {
  union {
    uint4 bits;
    T elements[kVector<T>];
  } v;
  for (int i = 0; i < kVector<T>; ++i) v.elements[i] = Narrow<T>(x[i]);
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) < 8) {  // a plain store may be cut into its elements
    __stwb(reinterpret_cast<uint4*>(at), v.bits);
    return;
  }
#endif
  *reinterpret_cast<uint4*>(at) = v.bits;
}

}  // namespace ostria::kernels

#endif
