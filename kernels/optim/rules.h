// SPDX-License-Identifier: Apache-2.0
// Update rules of optimizers: a functor each over a value type V (float, double, a CPU pack).
// Formulas and the place of epsilon are Keras's. The gradient is scaled and w shrunk (decoupled
// decay) before a rule sees them. All zeros stay zeros: ranges hold padding.
#pragma once

#include "kernels/scalar/primitives.h"

namespace ostria::kernels {
inline namespace OSTRIA_ISA_NS {

/// m / (sqrt(v) + epsilon).
template <class V>
OSTRIA_FN V OverRoot(V m, V v, V epsilon) {
  return m / (Sqrt(v) + epsilon);
}
template <class V>
OSTRIA_FN V Of(double x) {
  return V(static_cast<ScalarOf<V>>(x));
}
/// old + (now - old) * share.
template <class V>
OSTRIA_FN V Toward(V old, V now, V share) {
  return old + (now - old) * share;
}

// A rule has the number of its slots, the constants of one step from attributes, rate and step, and
// the new weight from w (decayed), g (scaled) and the slots, which it replaces.

template <class V>
struct SgdRule {
  static constexpr int kSlots = 0;
  OSTRIA_FN static void Constants(const double*, double lr, double, double* c) { c[0] = lr; }
  OSTRIA_FN explicit SgdRule(const double* c) : rate(Of<V>(c[0])) {}
  OSTRIA_FN V operator()(V w, V g, V*) const { return w - rate * g; }
  V rate;
};

template <class V>
struct MomentumRule {
  static constexpr int kSlots = 1;
  OSTRIA_FN static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = attrs[0], c[2] = attrs[1];
  }
  OSTRIA_FN explicit MomentumRule(const double* c)
      : rate(Of<V>(c[0])), momentum(Of<V>(c[1])), nesterov(c[2] != 0) {}
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    const V d = rate * g;
    s[0] = momentum * s[0] - d;
    return w + (nesterov ? momentum * s[0] - d : s[0]);
  }
  V rate, momentum;
  bool nesterov;
};

template <class V>
struct AdamRule {
  static constexpr int kSlots = 2;
  OSTRIA_FN static void Constants(const double* attrs, double lr, double step, double* c) {
    const double correct1 = 1 - __builtin_pow(attrs[0], step);
    c[0] = lr * __builtin_sqrt(1 - __builtin_pow(attrs[1], step)) / correct1;
    c[1] = 1 - attrs[0], c[2] = 1 - attrs[1], c[3] = attrs[2];
  }
  OSTRIA_FN explicit AdamRule(const double* c)
      : alpha(Of<V>(c[0])), c1(Of<V>(c[1])), c2(Of<V>(c[2])), epsilon(Of<V>(c[3])) {}
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    s[0] = Toward(s[0], g, c1);
    s[1] = Toward(s[1], g * g, c2);
    return w - OverRoot(alpha * s[0], s[1], epsilon);
  }
  V alpha, c1, c2, epsilon;
};

template <class V>
struct AdagradRule {
  static constexpr int kSlots = 1;
  OSTRIA_FN static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = attrs[0];
  }
  OSTRIA_FN explicit AdagradRule(const double* c) : rate(Of<V>(c[0])), epsilon(Of<V>(c[1])) {}
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    s[0] = s[0] + g * g;
    return w - rate * g / Sqrt(s[0] + epsilon);
  }
  V rate, epsilon;
};

template <class V, bool kMomentum, bool kCentered>
struct RmspropRule {
  static constexpr int kSlots = 1 + kMomentum + kCentered;
  OSTRIA_FN static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = 1 - attrs[0];
    c[2] = kMomentum ? attrs[1] : 0, c[3] = attrs[kMomentum ? 2 : 1];
  }
  OSTRIA_FN explicit RmspropRule(const double* c)
      : rate(Of<V>(c[0])), share(Of<V>(c[1])), momentum(Of<V>(c[2])), epsilon(Of<V>(c[3])) {}
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    s[0] = Toward(s[0], g * g, share);
    V spread = s[0];
    if constexpr (kCentered) {
      s[1] = Toward(s[1], g, share);
      spread = Max(V(0), spread - s[1] * s[1]);  // negative by rounding alone
    }
    const V move = rate * g / Sqrt(spread + epsilon);
    if constexpr (kMomentum) {
      s[kSlots - 1] = momentum * s[kSlots - 1] + move;
      return w - s[kSlots - 1];
    } else {
      return w - move;
    }
  }
  V rate, share, momentum, epsilon;
};

template <class V>
struct AdadeltaRule {
  static constexpr int kSlots = 2;
  OSTRIA_FN static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = 1 - attrs[0], c[2] = attrs[1];
  }
  OSTRIA_FN explicit AdadeltaRule(const double* c)
      : rate(Of<V>(c[0])), share(Of<V>(c[1])), epsilon(Of<V>(c[2])) {}
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    s[0] = Toward(s[0], g * g, share);
    const V move = g * Sqrt(s[1] + epsilon) / Sqrt(s[0] + epsilon);
    s[1] = Toward(s[1], move * move, share);
    return w - rate * move;
  }
  V rate, share, epsilon;
};

template <class V>
struct AdamaxRule {
  static constexpr int kSlots = 2;
  OSTRIA_FN static void Constants(const double* attrs, double lr, double step, double* c) {
    c[0] = lr / (1 - __builtin_pow(attrs[0], step));
    c[1] = 1 - attrs[0], c[2] = attrs[1], c[3] = attrs[2];
  }
  OSTRIA_FN explicit AdamaxRule(const double* c)
      : alpha(Of<V>(c[0])), c1(Of<V>(c[1])), beta2(Of<V>(c[2])), epsilon(Of<V>(c[3])) {}
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    s[0] = Toward(s[0], g, c1);
    s[1] = Max(beta2 * s[1], Abs(g));
    return w - alpha * s[0] / (s[1] + epsilon);
  }
  V alpha, c1, beta2, epsilon;
};

template <class V>
struct NadamRule {
  static constexpr int kSlots = 2;
  // The share of momentum in step t is beta1 (1 - 0.96^t / 2); `all` is the product of those so
  // far.
  OSTRIA_FN static void Constants(const double* attrs, double lr, double step, double* c) {
    const double beta1 = attrs[0];
    const auto share = [beta1](double t) { return beta1 * (1 - 0.5 * __builtin_pow(0.96, t)); };
    double all = __builtin_pow(beta1, step), power = 1;
    for (int t = 1; t <= 1024 && t <= step; ++t) {
      power *= 0.96;
      all *= 1 - 0.5 * power;
    }
    const double next = share(step + 1);
    c[0] = lr * next / (1 - all * next);
    c[1] = lr * (1 - share(step)) / (1 - all);
    c[2] = 1 - beta1, c[3] = 1 - attrs[1], c[4] = attrs[2];
    c[5] = 1 / (1 - __builtin_pow(attrs[1], step));
  }
  OSTRIA_FN explicit NadamRule(const double* c)
      : of_m(Of<V>(c[0])),
        of_g(Of<V>(c[1])),
        c1(Of<V>(c[2])),
        c2(Of<V>(c[3])),
        epsilon(Of<V>(c[4])),
        correct2(Of<V>(c[5])) {}
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    s[0] = Toward(s[0], g, c1);
    s[1] = Toward(s[1], g * g, c2);
    return w - (of_m * s[0] + of_g * g) / (Sqrt(s[1] * correct2) + epsilon);
  }
  V of_m, of_g, c1, c2, epsilon, correct2;
};

struct LibPow {
  OSTRIA_FN float operator()(float a, float b) const { return __builtin_powf(a, b); }
  OSTRIA_FN double operator()(double a, double b) const { return __builtin_pow(a, b); }
};

template <class V>
struct FtrlRule {
  static constexpr int kSlots = 2;
  OSTRIA_FN static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = 1 / lr, c[1] = -attrs[0], c[2] = attrs[1], c[3] = 2 * attrs[2], c[4] = 2 * attrs[3];
    c[5] = attrs[4];
    c[6] = attrs[0] == -0.5;
  }
  OSTRIA_FN explicit FtrlRule(const double* c)
      : over_rate(Of<V>(c[0])),
        power(Of<V>(c[1])),
        l1(Of<V>(c[2])),
        l2(Of<V>(c[3])),
        shrinkage(Of<V>(c[4])),
        beta(Of<V>(c[5])),
        by_root(c[6] != 0) {}
  OSTRIA_FN V Power(V x) const { return by_root ? Sqrt(x) : Lanewise(x, power, LibPow()); }
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    const V before = Power(s[0]);
    s[0] = s[0] + g * g;
    const V after = Power(s[0]);
    s[1] = s[1] + (g + shrinkage * w - (after - before) * over_rate * w);
    const V quadratic = (after + beta) * over_rate + l2;
    const V kept = Min(Max(s[1], V(0) - l1), l1) - s[1];
    return Select(quadratic > V(0), kept / quadratic, V(0));
  }
  V over_rate, power, l1, l2, shrinkage, beta;
  bool by_root;
};

template <class V>
struct LionRule {
  static constexpr int kSlots = 1;
  OSTRIA_FN static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = attrs[0], c[2] = attrs[1];
  }
  OSTRIA_FN explicit LionRule(const double* c)
      : rate(Of<V>(c[0])), beta1(Of<V>(c[1])), beta2(Of<V>(c[2])) {}
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    const V direction = s[0] * beta1 + g * (V(1) - beta1);
    s[0] = s[0] * beta2 + g * (V(1) - beta2);
    return w - Select(direction == V(0), V(0), CopySign(rate, direction));
  }
  V rate, beta1, beta2;
};

/// An average as the weight, the weight as its gradient. attrs: what the average keeps.
template <class V>
struct EmaRule {
  static constexpr int kSlots = 0;
  OSTRIA_FN static void Constants(const double* attrs, double, double, double* c) {
    c[0] = attrs[0];
  }
  OSTRIA_FN explicit EmaRule(const double* c) : share(Of<V>(c[0])) {}
  OSTRIA_FN V operator()(V average, V w, V*) const { return Toward(w, average, share); }
  V share;
};

/// m_hat / (sqrt(v_hat) + epsilon).
template <class V>
struct LambMove {
  OSTRIA_FN LambMove(double correct1, double correct2, double epsilon)
      : over1(Of<V>(1 / correct1)), over2(Of<V>(1 / correct2)), epsilon(Of<V>(epsilon)) {}
  OSTRIA_FN V operator()(V m, V v) const { return m * over1 / (Sqrt(v * over2) + epsilon); }
  V over1, over2, epsilon;
};

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::kernels
