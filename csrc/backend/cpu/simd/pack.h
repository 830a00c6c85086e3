// SPDX-License-Identifier: Apache-2.0
// The packs of this translation unit's instruction set: VecF32 and VecF64 with Load/Store, or plain
// float and double at the baseline. Include only from files that are compiled once per instruction
// set
// (*_baseline.cpp, *_avx2.cpp, *_avx512.cpp) and from nothing that reaches std:: inline functions.
#pragma once

#include "kernels/scalar/primitives.h"

#if OSTRIA_SIMD_ISA == 2
#include "backend/cpu/simd/pack_avx512.h"
#elif OSTRIA_SIMD_ISA == 1
#include "backend/cpu/simd/pack_avx2.h"
#endif

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

using kernels::ScalarOf;
// The scalar primitives beside the packs' own, so that unqualified calls serve every V.
using kernels::Abs;
using kernels::Fma;
using kernels::Max;
using kernels::Min;
using kernels::Select;
using kernels::Sqrt;

#if OSTRIA_SIMD_ISA == 0

using VecF32 = float;
using VecF64 = double;
template <class T>
OSTRIA_FN void Load(const T* p, T* out) {
  *out = *p;
}
template <class T, class A>  // A is int where masks were combined
OSTRIA_FN void Store(T* p, A a) {
  *p = static_cast<T>(a);
}
template <class T>
OSTRIA_FN void LoadPartial(const T* p, int64_t, T* out) {
  *out = *p;
}
template <class T, class A>
OSTRIA_FN void StorePartial(T* p, int64_t, A a) {
  *p = static_cast<T>(a);
}
OSTRIA_FN bool Any(bool m) { return m; }
OSTRIA_FN void FirstLanes(int64_t n, bool* out) { *out = n > 0; }
OSTRIA_FN float ReduceAdd(float a) { return a; }
OSTRIA_FN double ReduceAdd(double a) { return a; }
OSTRIA_FN float ReduceMax(float a) { return a; }
OSTRIA_FN double ReduceMax(double a) { return a; }
template <class V>
struct VecTraits {
  using Mask = bool;
  static constexpr int kLanes = 1;
};

#else

using VecF32 = PackF32;
using VecF64 = PackF64;
template <class V>
struct VecTraits {
  using Mask = typename V::Mask;
  static constexpr int kLanes = V::kLanes;
};

template <class V, class F>
requires requires { V::kLanes; }
OSTRIA_FN V Lanewise(V a, F f) {
  typename V::Scalar lanes[V::kLanes];
  Store(lanes, a);
  for (int i = 0; i < V::kLanes; ++i) lanes[i] = f(lanes[i]);
  V out;
  Load(lanes, &out);
  return out;
}
template <class V, class F>
requires requires { V::kLanes; }
OSTRIA_FN V Lanewise(V a, V b, F f) {
  typename V::Scalar x[V::kLanes], y[V::kLanes];
  Store(x, a);
  Store(y, b);
  for (int i = 0; i < V::kLanes; ++i) x[i] = f(x[i], y[i]);
  V out;
  Load(x, &out);
  return out;
}

#endif

template <class V>
inline constexpr int kLanesOf = VecTraits<V>::kLanes;
template <class V>
using MaskOf = typename VecTraits<V>::Mask;

template <class V>
OSTRIA_FN V LoadVec(const ScalarOf<V>* p) {
  V out;
  Load(p, &out);
  return out;
}
template <class V>
OSTRIA_FN V LoadVecPartial(const ScalarOf<V>* p, int64_t n) {
  V out;
  LoadPartial(p, n, &out);
  return out;
}

/// The first n lanes from memory, the others `fill`.
template <class V>
OSTRIA_FN V LoadVecFill(const ScalarOf<V>* p, int64_t n, V fill) {
  MaskOf<V> mask;
  FirstLanes(n, &mask);
  return Select(mask, LoadVecPartial<V>(p, n), fill);
}
/// Stores a whole vector, or its first n lanes when there are fewer.
template <class V>
OSTRIA_FN void StoreVec(ScalarOf<V>* p, int64_t n, V a) {
  if (n >= kLanesOf<V>) {
    Store(p, a);
  } else {
    StorePartial(p, n, a);
  }
}
/// StoreVec, or past the caches: then p must be aligned to a vector, and n whole.
template <bool kStream, class V>
OSTRIA_FN void Put(ScalarOf<V>* p, int64_t n, V a) {
#if OSTRIA_SIMD_ISA > 0
  if constexpr (kStream) return StoreStreaming(p, a);
#endif
  StoreVec(p, n, a);
}
/// Orders what Put stored past the caches before what the thread does next.
OSTRIA_FN void FinishPuts([[maybe_unused]] bool stream) {
#if OSTRIA_SIMD_ISA > 0
  if (stream) FinishStreaming();
#endif
}
/// Loads a whole vector, or its first n lanes and zeros when there are fewer.
template <class V>
OSTRIA_FN V LoadVecUpTo(const ScalarOf<V>* p, int64_t n) {
  return n >= kLanesOf<V> ? LoadVec<V>(p) : LoadVecPartial<V>(p, n);
}

/// Folds the lanes by halves, in memory: for the operations that have no instruction.
template <class V, class F>
OSTRIA_FN ScalarOf<V> FoldLanes(V a, F f) {
  constexpr int kLanes = kLanesOf<V>;
  ScalarOf<V> lanes[kLanes];
  Store(lanes, a);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] = f(lanes[i], lanes[i + width]);
  }
  return lanes[0];
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
