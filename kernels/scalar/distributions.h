// SPDX-License-Identifier: Apache-2.0
// Random words to numbers, one word per float and two per double. The float forms use IEEE + - * /
// and sqrt only, never fused: the same bits on every instruction set and device. The normal is the
// inverse cumulative distribution (M. Giles, "Approximating the erfinv function", 2010), so an
// element never needs its neighbour's word; doubles use Wichura's AS 241 with the C library's log.
#pragma once

#include "kernels/scalar/math.h"
#include "kernels/scalar/philox.h"

namespace ostria::kernels {
inline namespace OSTRIA_ISA_NS {

template <int kShift>
OSTRIA_FN uint32_t ShiftRight(uint32_t a) {
  return a >> kShift;
}
OSTRIA_FN uint32_t LowBits31(uint32_t a) { return a & 0x7fffffffu; }
OSTRIA_FN float FromSmallInt(uint32_t a) { return static_cast<float>(static_cast<int32_t>(a)); }
OSTRIA_FN float AsSignOf(uint32_t a) { return BitCast<float>(a & 0x80000000u); }

/// Uniform in [0, 1): 24 bits.
template <class V, class U>
OSTRIA_FN V UniformFromBits(U bits) {
  return V(FromSmallInt(ShiftRight<8>(bits))) * V(0x1p-24f);
}

/// Size of the standard normal deviate whose upper tail is p in (0, 1/2]; relative error 3e-6
/// down to p = 3e-8 (5.4 deviations), 4e-4 at the smallest tail drawn (6.3).
template <class V>
OSTRIA_FN V NormalFromTail(V p) {
  const V w = -internal::LogNormal<false>(V(4.0f) * p * (V(1.0f) - p), V(0.0f));
  const V a = w - V(2.5f), b = Sqrt(Max(w, V(0.0f))) - V(3.0f);
  V c = V(2.81022636e-08f);
  c = MulThenAdd(c, a, V(3.43273939e-07f));
  c = MulThenAdd(c, a, V(-3.5233877e-06f));
  c = MulThenAdd(c, a, V(-4.39150654e-06f));
  c = MulThenAdd(c, a, V(0.00021858087f));
  c = MulThenAdd(c, a, V(-0.00125372503f));
  c = MulThenAdd(c, a, V(-0.00417768164f));
  c = MulThenAdd(c, a, V(0.246640727f));
  c = MulThenAdd(c, a, V(1.50140941f));
  V t = V(-0.000200214257f);
  t = MulThenAdd(t, b, V(0.000100950558f));
  t = MulThenAdd(t, b, V(0.00134934322f));
  t = MulThenAdd(t, b, V(-0.00367342844f));
  t = MulThenAdd(t, b, V(0.00573950773f));
  t = MulThenAdd(t, b, V(-0.0076224613f));
  t = MulThenAdd(t, b, V(0.00943887047f));
  t = MulThenAdd(t, b, V(1.00167406f));
  t = MulThenAdd(t, b, V(2.83297682f));
  return Select(w < V(5.0f), c, t) * (V(1.0f) - (p + p)) * V(1.41421356f);
}

/// Standard normal: the top bit is the sign, the other 31 the tail; at most 6.3 in size.
template <class V, class U>
OSTRIA_FN V NormalFromBits(U bits) {
  const V p = (V(FromSmallInt(LowBits31(bits))) + V(0.5f)) * V(0x1p-32f);
  return CopySign(NormalFromTail(p), V(AsSignOf(bits)));
}

/// Standard normal restricted to [-2, 2]: the tail is drawn from (P(X > 2), 1/2].
template <class V, class U>
OSTRIA_FN V TruncatedNormalFromBits(U bits) {
  const V u = (V(FromSmallInt(LowBits31(bits))) + V(0.5f)) * V(0x1p-31f);
  const V p = MulThenAdd(u, V(0.477249868f), V(0.0227501319f));
  return CopySign(Min(NormalFromTail(p), V(2.0f)), V(AsSignOf(bits)));
}

/// Uniform in [0, 1): 53 bits.
OSTRIA_FN double UniformFromBits64(uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

/// Size of the standard normal deviate whose upper tail is p in (0, 1/2]; AS 241, about 1e-16.
OSTRIA_FN double NormalFromTail(double p) {
  const double q = 0.5 - p;
  if (q <= 0.425) {
    const double r = 0.180625 - q * q;
    const double top = (((((((2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r +
                             6.7265770927008700853e4) *
                                r +
                            4.5921953931549871457e4) *
                               r +
                           1.3731693765509461125e4) *
                              r +
                          1.9715909503065514427e3) *
                             r +
                         1.3314166789178437745e2) *
                            r +
                        3.3871328727963666080);
    const double bottom = (((((((5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r +
                                3.9307895800092710610e4) *
                                   r +
                               2.1213794301586595867e4) *
                                  r +
                              5.3941960214247511077e3) *
                                 r +
                             6.8718700749205790830e2) *
                                r +
                            4.2313330701600911252e1) *
                               r +
                           1.0);
    return q * top / bottom;
  }
  double r = __builtin_sqrt(-__builtin_log(p));
  if (r <= 5.0) {
    r -= 1.6;
    const double top = (((((((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r +
                             2.41780725177450611770e-1) *
                                r +
                            1.27045825245236838258) *
                               r +
                           3.64784832476320460504) *
                              r +
                          5.76949722146069140550) *
                             r +
                         4.63033784615654529590) *
                            r +
                        1.42343711074968357734);
    const double bottom = (((((((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r +
                                1.51986665636164571966e-2) *
                                   r +
                               1.48103976427480074590e-1) *
                                  r +
                              6.89767334985100004550e-1) *
                                 r +
                             1.67638483018380384940) *
                                r +
                            2.05319162663775882187) *
                               r +
                           1.0);
    return top / bottom;
  }
  r -= 5.0;
  const double top = (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r +
                           1.24266094738807843860e-3) *
                              r +
                          2.65321895265761230930e-2) *
                             r +
                         2.96560571828504891230e-1) *
                            r +
                        1.78482653991729133580) *
                           r +
                       5.46378491116411436990) *
                          r +
                      6.65790464350110377720);
  const double bottom = (((((((2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r +
                              1.84631831751005468180e-5) *
                                 r +
                             7.86869131145613259100e-4) *
                                r +
                            1.48753612908506148525e-2) *
                               r +
                           1.36929880922735805310e-1) *
                              r +
                          5.99832206555887937690e-1) *
                             r +
                         1.0);
  return top / bottom;
}

/// As NormalFromBits and TruncatedNormalFromBits, from 64 bits.
OSTRIA_FN double NormalFromBits64(uint64_t bits) {
  const double p = (static_cast<double>((bits & 0x7fffffffffffffffull) >> 11) + 0.5) * 0x1p-53;
  return CopySign(NormalFromTail(p), (bits >> 63) != 0 ? -1.0 : 1.0);
}
OSTRIA_FN double TruncatedNormalFromBits64(uint64_t bits) {
  const double u = (static_cast<double>((bits & 0x7fffffffffffffffull) >> 11) + 0.5) * 0x1p-52;
  const double p = u * 0.47724986805182079 + 0.02275013194817921;
  return CopySign(Min(NormalFromTail(p), 2.0), (bits >> 63) != 0 ? -1.0 : 1.0);
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::kernels
