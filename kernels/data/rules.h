// SPDX-License-Identifier: Apache-2.0
// What becomes of an element that others are written to in the order of their indices. Acc is what
// it is while they are: half types are summed as float and rounded once.
#pragma once

#include <type_traits>

#include "kernels/common/dtype.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

/// Half types as float, others as they are: what is compared and added.
template <class T>
OSTRIA_DEVICE auto AsNumber(T x) {
  if constexpr (std::is_integral_v<T>) {
    return x;
  } else {
    return Widen(x);
  }
}

/// What an accumulator is to rules that choose one of the elements.
template <class T>
struct Chooses {
  using Acc = T;
  static OSTRIA_DEVICE T Start(T x) { return x; }
  static OSTRIA_DEVICE T End(T x, int64_t) { return x; }
};

/// The last one.
template <class T>
struct UpdateRule : Chooses<T> {
  static OSTRIA_DEVICE T Next(T, T b) { return b; }
};
/// NaN wins, and of equals the last one.
template <class T>
struct MaxRule : Chooses<T> {
  static OSTRIA_DEVICE T Next(T a, T b) {
    const auto x = AsNumber(a);
    return x > AsNumber(b) || x != x ? a : b;
  }
};
template <class T>
struct MinRule : Chooses<T> {
  static OSTRIA_DEVICE T Next(T a, T b) {
    const auto x = AsNumber(a);
    return x < AsNumber(b) || x != x ? a : b;
  }
};

/// Unsigned integers wrap around, which is right for signed ones too.
template <class T>
struct SumRule {
  using Acc = decltype(AsNumber(T()));
  static OSTRIA_DEVICE Acc Start(T x) { return AsNumber(x); }
  static OSTRIA_DEVICE Acc Next(Acc a, T b) { return static_cast<Acc>(a + AsNumber(b)); }
  static OSTRIA_DEVICE T End(Acc x, int64_t) {
    if constexpr (std::is_integral_v<T>) {
      return x;
    } else {
      return Narrow<T>(x);
    }
  }
};
/// Of what was added; floats only.
template <class T>
struct MeanRule : SumRule<T> {
  static OSTRIA_DEVICE T End(Compute<T> x, int64_t n) {
    return Narrow<T>(x / static_cast<Compute<T>>(n));
  }
};

}  // namespace ostria::kernels

#endif
