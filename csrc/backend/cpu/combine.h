// SPDX-License-Identifier: Apache-2.0
// What becomes of an element that another one is scattered to: one functor per rule.
#pragma once

#include <limits>
#include <type_traits>

#include "core/dtype.h"

namespace ostria::cpu {

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;

/// Half types as float, others as they are: what arithmetic and comparisons take.
template <class T>
auto Number(T v) {
  if constexpr (kIsHalf<T>) {
    return static_cast<float>(v);
  } else {
    return v;
  }
}

/// A number that T holds, as T.
template <class T>
T OfNumber(float v) {
  return static_cast<T>(v);
}

struct Replace {
  template <class T>
  T operator()(T, T b) const {
    return b;
  }
};

struct Sum {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      using U = std::make_unsigned_t<T>;  // wraps around instead of being undefined
      return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    } else {
      return static_cast<T>(Number(a) + Number(b));
    }
  }
  /// What an empty sum is.
  template <class T>
  static T Initial() {
    return OfNumber<T>(0);
  }
};

// NaN wins.
struct Larger {
  template <class T>
  T operator()(T a, T b) const {
    return Number(a) > Number(b) || Number(a) != Number(a) ? a : b;
  }
  /// What every number of T is taken before.
  template <class T>
  static T Initial() {
    if constexpr (std::is_integral_v<T>) return std::numeric_limits<T>::lowest();
    return OfNumber<T>(-std::numeric_limits<float>::infinity());
  }
};
struct Smaller {
  template <class T>
  T operator()(T a, T b) const {
    return Number(a) < Number(b) || Number(a) != Number(a) ? a : b;
  }
  /// What every number of T is taken before.
  template <class T>
  static T Initial() {
    if constexpr (std::is_integral_v<T>) return std::numeric_limits<T>::max();
    return OfNumber<T>(std::numeric_limits<float>::infinity());
  }
};

}  // namespace ostria::cpu
