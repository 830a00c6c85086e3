// SPDX-License-Identifier: Apache-2.0
// One element at a time: conversions and the functors over float, double, integers and bool.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/dtype.h"
#include "kernels/scalar/functors.h"
#include "kernels/scalar/int_functors.h"
#include "loop/program.h"

namespace ostria {

/// One element of any dtype that values have.
struct Cell {
  alignas(8) char bytes[8] = {};
  template <class T>
  T As() const {
    T out;
    std::memcpy(&out, bytes, sizeof out);
    return out;
  }
  template <class T>
  static Cell Of(T value) {
    Cell c;
    std::memcpy(c.bytes, &value, sizeof value);
    return c;
  }
};
/// As op `cast`: floats truncate and saturate, NaN is 0, bool is `!= 0`.
template <class To, class From>
To Convert(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    using Limits = std::numeric_limits<To>;
    if (std::isnan(x)) return 0;
    if (x <= static_cast<From>(Limits::min())) return Limits::min();
    if (x >= static_cast<From>(Limits::max())) return Limits::max();
    return static_cast<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

/// Calls `fn` with a zero of the dtype; half types are never values.
template <class Fn>
auto Dispatch(DType dtype, Fn&& fn) {
  return DispatchDType(dtype, [&]<class T>(T*) {
    if constexpr (std::is_arithmetic_v<T>)
      return fn(T());
    else
      return fn(float());
  });
}

template <kernels::ScalarOp op, class T>
Cell Apply(const LoopInstr& i, const Cell& a, const Cell& b, const Cell& c) {
  constexpr kernels::ScalarOpInfo kInfo = kernels::InfoOf(op);
  constexpr uint8_t kKind = std::is_floating_point_v<T> ? kernels::kFloats
                            : std::is_same_v<T, bool>   ? kernels::kBools
                                                        : kernels::kInts;
  using First = std::conditional_t<op == kernels::ScalarOp::kWhere, bool, T>;
  if constexpr ((kInfo.kinds & kKind) == 0) {
    return {};
  } else {
    const auto call = [&](auto... args) {
      if constexpr (std::is_floating_point_v<T>)
        return kernels::Functor<op>::Call(args...);
      else
        return kernels::IntFunctor<op>::Call(args...);
    };
    using Out = std::conditional_t<kInfo.is_bool, bool, T>;
    if constexpr (kInfo.arity == 3) {
      return Cell::Of(static_cast<Out>(call(a.As<First>(), b.As<T>(), c.As<T>())));
    } else if constexpr (kInfo.arity == 2) {
      return Cell::Of(static_cast<Out>(call(a.As<T>(), b.As<T>())));
    } else if constexpr (kInfo.params == 1) {
      return Cell::Of(static_cast<Out>(call(a.As<T>(), static_cast<T>(i.number[0]))));
    } else {
      return Cell::Of(static_cast<Out>(call(a.As<T>())));
    }
  }
}

/// `i.op` of the arguments, whose data are T.
template <class T>
Cell ApplyOp(const LoopInstr& i, const Cell& a, const Cell& b, const Cell& c) {
  switch (i.op) {
#define OSTRIA_CASE(id, ...) \
  case kernels::ScalarOp::id: return Apply<kernels::ScalarOp::id, T>(i, a, b, c);
    OSTRIA_SCALAR_OPS(OSTRIA_CASE)
#undef OSTRIA_CASE
  }
  return {};
}

}  // namespace ostria
