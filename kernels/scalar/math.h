// SPDX-License-Identifier: Apache-2.0
// Elementary functions over any V. float: one branch-free polynomial each, good to 4 ulp, right at
// 0,
// +-inf and NaN, subnormals kept. double: the C library lane by lane, because doubles serve tests
// and gradient checks where exactness matters and speed does not. Sources: exp and log after Cephes
// (S. Moshier), erf after N. Juffa's minimax pair.
#pragma once

#include "kernels/scalar/primitives.h"

namespace ostria::kernels {
inline namespace OSTRIA_ISA_NS {

template <class V>
OSTRIA_FN V Infinity() {
  return V(static_cast<ScalarOf<V>>(__builtin_inff()));
}
template <class V>
OSTRIA_FN V NotANumber() {
  return V(static_cast<ScalarOf<V>>(__builtin_nanf("")));
}

namespace internal {

inline constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;  // high * n is exact

// exp(x) = 2^n exp(r), |r| <= ln2/2. Min/Max keep a NaN because x is their second operand.
template <class V>
OSTRIA_FN V ReduceExp(V x, V* n) {
  x = Max(V(-104.0f), Min(V(89.0f), x));
  *n = RoundSmall(x * V(1.44269504f));
  return Fma(*n, V(-kLn2Low), Fma(*n, V(-kLn2High), x));
}

// (exp(r) - 1 - r) / r^2
template <class V>
OSTRIA_FN V ExpTail(V r) {
  V p = V(1.9875691500e-4f);
  p = Fma(p, r, V(1.3981999507e-3f));
  p = Fma(p, r, V(8.3334519073e-3f));
  p = Fma(p, r, V(4.1665795894e-2f));
  p = Fma(p, r, V(1.6666665459e-1f));
  return Fma(p, r, V(5.0000001201e-1f));
}

}  // namespace internal

template <class V>
OSTRIA_FN V Exp(V x) {
  if constexpr (kIsF32<V>) {
    V n;
    const V r = internal::ReduceExp(x, &n);
    return Ldexp(Fma(internal::ExpTail(r), r * r, r) + V(1.0f), n);
  } else {
    return Lanewise(x, [](double v) { return __builtin_exp(v); });
  }
}

template <class V>
OSTRIA_FN V Expm1(V x) {
  if constexpr (kIsF32<V>) {
    V n;
    const V r = internal::ReduceExp(x, &n);
    const V p = Fma(internal::ExpTail(r), r * r, r);
    // Half of 2^n, because 2^128 is not a float while exp(88.7) is.
    const V t = Ldexp(V(1.0f), n - V(1.0f));
    const V y = Fma(t, p, t - V(0.5f));
    return Select(Abs(x) < V(1e-8f), x, y + y);  // also keeps -0 and subnormals
  } else {
    return Lanewise(x, [](double v) { return __builtin_expm1(v); });
  }
}

namespace internal {

template <bool kFused, class V>
OSTRIA_FN V MulAdd(V a, V b, V c) {
  if constexpr (kFused) {
    return Fma(a, b, c);
  } else {
    return MulThenAdd(a, b, c);
  }
}

// Positive normal x. Unfused, every step is an IEEE operation: the same bits on every machine.
template <bool kFused, class V>
OSTRIA_FN V LogNormal(V x, V e0) {
  V e;
  const V m = SplitExponent(x, &e);
  e = e - e0;
  const V f = m - V(1.0f), z = f * f;
  V p = V(7.0376836292e-2f);
  p = MulAdd<kFused>(p, f, V(-1.1514610310e-1f));
  p = MulAdd<kFused>(p, f, V(1.1676998740e-1f));
  p = MulAdd<kFused>(p, f, V(-1.2420140846e-1f));
  p = MulAdd<kFused>(p, f, V(1.4249322787e-1f));
  p = MulAdd<kFused>(p, f, V(-1.6668057665e-1f));
  p = MulAdd<kFused>(p, f, V(2.0000714765e-1f));
  p = MulAdd<kFused>(p, f, V(-2.4999993993e-1f));
  p = MulAdd<kFused>(p, f, V(3.3333331174e-1f));
  V y = MulAdd<kFused>(e, V(kLn2Low), p * f * z);
  y = MulAdd<kFused>(z, V(-0.5f), y);
  return MulAdd<kFused>(e, V(kLn2High), f + y);
}

}  // namespace internal

template <class V>
OSTRIA_FN V Log(V x) {
  if constexpr (kIsF32<V>) {
    const auto tiny = x < V(0x1p-126f);
    const V y =
        internal::LogNormal<true>(Select(tiny, x * V(0x1p25f), x), Select(tiny, V(25.0f), V(0.0f)));
    const V special = Select(x == V(0.0f), -Infinity<V>(), Select(x < V(0.0f), NotANumber<V>(), x));
    return Select((x > V(0.0f)) & (x < Infinity<V>()), y, special);
  } else {
    return Lanewise(x, [](double v) { return __builtin_log(v); });
  }
}

template <class V>
OSTRIA_FN V Log1p(V x) {
  if constexpr (kIsF32<V>) {
    // Kahan: the rounding of 1 + x cancels in log(u) * x / (u - 1).
    const V u = V(1.0f) + x, d = u - V(1.0f);
    const V y = Log(u) * (x / d);
    return Select(d == V(0.0f), x, Select((x < Infinity<V>()) & (u > V(0.0f)), y, Log(u)));
  } else {
    return Lanewise(x, [](double v) { return __builtin_log1p(v); });
  }
}

template <class V>
OSTRIA_FN V Tanh(V x) {
  if constexpr (kIsF32<V>) {
    const V e = Expm1(Min(V(20.0f), Abs(x) + Abs(x)));
    return CopySign(e / (e + V(2.0f)), x);
  } else {
    return Lanewise(x, [](double v) { return __builtin_tanh(v); });
  }
}

template <class V>
OSTRIA_FN V Sigmoid(V x) {
  const V e = Exp(-Abs(x));
  return Select(x < V(0), e, V(1)) / (V(1) + e);
}

template <class V>
OSTRIA_FN V Erf(V x) {
  if constexpr (kIsF32<V>) {
    const V t = Min(V(4.0f), Abs(x)), s = t * t;
    V r = Fma(V(-1.72853470e-5f), t, V(3.83197126e-4f));
    const V u = Fma(V(-3.88396438e-3f), t, V(2.42546219e-2f));
    r = Fma(r, s, u);
    r = Fma(r, t, V(-1.06777877e-1f));
    r = Fma(r, t, V(-6.34846687e-1f));
    r = Fma(r, t, V(-1.28717512e-1f));
    const V large = V(1.0f) - Exp(Fma(r, t, -t));
    V q = V(-5.96761703e-4f);
    q = Fma(q, s, V(4.99119423e-3f));
    q = Fma(q, s, V(-2.67681349e-2f));
    q = Fma(q, s, V(1.12819925e-1f));
    q = Fma(q, s, V(-3.76125336e-1f));
    q = Fma(q, s, V(1.28379166e-1f));
    return CopySign(Select(t > V(0.927734375f), large, Fma(q, t, t)), x);
  } else {
    return Lanewise(x, [](double v) { return __builtin_erf(v); });
  }
}

template <class V>
OSTRIA_FN V Sin(V x) {
  if constexpr (kIsF32<V>) {
    return Lanewise(x, [](float v) { return __builtin_sinf(v); });
  } else {
    return Lanewise(x, [](double v) { return __builtin_sin(v); });
  }
}

template <class V>
OSTRIA_FN V Cos(V x) {
  if constexpr (kIsF32<V>) {
    return Lanewise(x, [](float v) { return __builtin_cosf(v); });
  } else {
    return Lanewise(x, [](double v) { return __builtin_cos(v); });
  }
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::kernels
