// SPDX-License-Identifier: Apache-2.0
// Update rules: a functor each, and the loop that runs one over a flat range of weights and its
// slots, once per instruction set. Formulas and the place of epsilon are Keras's. All zeros stay
// zeros: ranges hold padding.
#pragma once

#include "backend/cpu/simd/rows_impl.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

using kernels::CopySign;
using kernels::Lanewise;

constexpr int64_t kAhead = 6;  // rows whose memory is asked for before their turn

template <class T>
OSTRIA_FN void Prefetch(const T* p, int64_t n) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < n && i < 4 * kLine; i += kLine) __builtin_prefetch(p + i, 1);
}

template <class T>
OSTRIA_FN bool AllZero(const T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] != 0) return false;
  }
  return true;
}

// Calls fn(offset, count, gradients) for vectors of weights, ahead(offset) for rows to come.
template <class V, class F, class Ahead>
OSTRIA_FN void ForGradients(const Gradients<ScalarOf<V>>& g, int64_t n, F fn, Ahead ahead) {
  if (g.rows == 0) {
    ForVectors<V>(
        n, [&](int64_t i, int64_t k)
               __attribute__((always_inline)) { fn(i, k, LoadVecUpTo<V>(g.g + i, k)); });
    return;
  }
  if (g.column == nullptr) {
    const ScalarOf<V>* from = g.g;
    for (int64_t row = 0; row < g.rows; ++row, from += n) {
      if (g.ids != nullptr && row + kAhead < g.rows) ahead(g.ids[row + kAhead] * n);
      if (g.lazy && AllZero(from, n)) continue;
      const int64_t at = (g.ids == nullptr ? row : g.ids[row]) * n;
      ForVectors<V>(
          n, [&](int64_t i, int64_t k)
                 __attribute__((always_inline)) { fn(at + i, k, LoadVecUpTo<V>(from + i, k)); });
    }
    return;
  }
  for (int64_t row = 0; row < g.rows; ++row) {
    const V factor = V(g.column[row]);
    const int64_t at = row * n;
    ForVectors<V>(
        n, [&](int64_t i, int64_t k) __attribute__((always_inline)) {
          fn(at + i, k, factor * LoadVecUpTo<V>(g.g + i, k));
        });
  }
}

/// m / (sqrt(v) + epsilon).
template <class V>
OSTRIA_FN V OverRoot(V m, V v, V epsilon) {
  return m / (Sqrt(v) + epsilon);
}
#if OSTRIA_SIMD_ISA == 2
// Root and quotient share one slow divider. Estimates of 14 bits and a step of Newton's method each
// are nearly as exact (the tests hold Adam to its formula); zero and infinity, where the steps
// would make NaN, keep their values.
OSTRIA_FN PackF32 OverRoot(PackF32 m, PackF32 v, PackF32 epsilon) {
  constexpr int kZero = 0x02 | 0x04, kInfinity = 0x08, kDenormal = 0x20;  // of vfpclassps
  const PackF32 r = _mm512_rsqrt14_ps(v.v);
  PackF32 root = v * r;
  root = Fma(r * PackF32(0.5f), Fma(-root, root, v), root);
  root =
      _mm512_mask_mov_ps(root.v, _mm512_fpclass_ps_mask(v.v, kZero | kInfinity | kDenormal), v.v);
  const PackF32 d = root + epsilon;
  const PackF32 estimate = _mm512_rcp14_ps(d.v);
  const PackF32 better = Fma(estimate, Fma(-d, estimate, PackF32(1.0f)), estimate);
  return m * PackF32(_mm512_mask_mov_ps(better.v, _mm512_fpclass_ps_mask(d.v, kZero | kInfinity),
                                        estimate.v));
}
#endif

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
  static void Constants(const double*, double lr, double, double* c) { c[0] = lr; }
  explicit SgdRule(const double* c) : rate(Of<V>(c[0])) {}
  OSTRIA_FN V operator()(V w, V g, V*) const { return w - rate * g; }
  V rate;
};

template <class V>
struct MomentumRule {
  static constexpr int kSlots = 1;
  static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = attrs[0], c[2] = attrs[1];
  }
  explicit MomentumRule(const double* c)
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
  static void Constants(const double* attrs, double lr, double step, double* c) {
    const double correct1 = 1 - __builtin_pow(attrs[0], step);
    c[0] = lr * __builtin_sqrt(1 - __builtin_pow(attrs[1], step)) / correct1;
    c[1] = 1 - attrs[0], c[2] = 1 - attrs[1], c[3] = attrs[2];
  }
  explicit AdamRule(const double* c)
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
  static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = attrs[0];
  }
  explicit AdagradRule(const double* c) : rate(Of<V>(c[0])), epsilon(Of<V>(c[1])) {}
  OSTRIA_FN V operator()(V w, V g, V* s) const {
    s[0] = s[0] + g * g;
    return w - rate * g / Sqrt(s[0] + epsilon);
  }
  V rate, epsilon;
};

template <class V, bool kMomentum, bool kCentered>
struct RmspropRule {
  static constexpr int kSlots = 1 + kMomentum + kCentered;
  static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = 1 - attrs[0];
    c[2] = kMomentum ? attrs[1] : 0, c[3] = attrs[kMomentum ? 2 : 1];
  }
  explicit RmspropRule(const double* c)
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
  static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = 1 - attrs[0], c[2] = attrs[1];
  }
  explicit AdadeltaRule(const double* c)
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
  static void Constants(const double* attrs, double lr, double step, double* c) {
    c[0] = lr / (1 - __builtin_pow(attrs[0], step));
    c[1] = 1 - attrs[0], c[2] = attrs[1], c[3] = attrs[2];
  }
  explicit AdamaxRule(const double* c)
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
  static void Constants(const double* attrs, double lr, double step, double* c) {
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
  explicit NadamRule(const double* c)
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
  float operator()(float a, float b) const { return __builtin_powf(a, b); }
  double operator()(double a, double b) const { return __builtin_pow(a, b); }
};

template <class V>
struct FtrlRule {
  static constexpr int kSlots = 2;
  static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = 1 / lr, c[1] = -attrs[0], c[2] = attrs[1], c[3] = 2 * attrs[2], c[4] = 2 * attrs[3];
    c[5] = attrs[4];
    c[6] = attrs[0] == -0.5;
  }
  explicit FtrlRule(const double* c)
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
  static void Constants(const double* attrs, double lr, double, double* c) {
    c[0] = lr, c[1] = attrs[0], c[2] = attrs[1];
  }
  explicit LionRule(const double* c) : rate(Of<V>(c[0])), beta1(Of<V>(c[1])), beta2(Of<V>(c[2])) {}
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
  static void Constants(const double* attrs, double, double, double* c) { c[0] = attrs[0]; }
  explicit EmaRule(const double* c) : share(Of<V>(c[0])) {}
  OSTRIA_FN V operator()(V average, V w, V*) const { return Toward(w, average, share); }
  V share;
};

template <class V, class Rule>
void UpdateRange(const UpdateParams& p, ScalarOf<V>* w, const Gradients<ScalarOf<V>>& gradients,
                 ScalarOf<V>* const* slots, int64_t n) {
  constexpr int kSlots = Rule::kSlots;
  const Rule rule(p.c);
  const V keep = Of<V>(p.keep), scale = Of<V>(p.grad_scale);
  ScalarOf<V>* at[kSlots + 1] = {};
  for (int k = 0; k < kSlots; ++k) at[k] = slots[k];
  ForGradients<V>(
      gradients, n,
      [&](int64_t i, int64_t count, V g) __attribute__((always_inline)) {
        V s[kSlots + 1] = {};
        for (int k = 0; k < kSlots; ++k) s[k] = LoadVecUpTo<V>(at[k] + i, count);
        const V after = rule(LoadVecUpTo<V>(w + i, count) * keep, g * scale, s);
        for (int k = 0; k < kSlots; ++k) StoreVec(at[k] + i, count, s[k]);
        StoreVec(w + i, count, after);
      },
      [&](int64_t i) __attribute__((always_inline)) {
        Prefetch(w + i, n);
        for (int k = 0; k < kSlots; ++k) Prefetch(at[k] + i, n);
      });
}

// --- LAMB: the norm of the whole move is needed before any weight moves -------------------------

/// m_hat / (sqrt(v_hat) + epsilon).
template <class V>
struct LambMove {
  explicit LambMove(const LambParams& p)
      : over1(Of<V>(1 / p.correct1)), over2(Of<V>(1 / p.correct2)), epsilon(Of<V>(p.epsilon)) {}
  OSTRIA_FN V operator()(V m, V v) const { return m * over1 / (Sqrt(v * over2) + epsilon); }
  V over1, over2, epsilon;
};

template <class V>
void LambMoments(const LambParams& p, const ScalarOf<V>* w, const ScalarOf<V>* g, ScalarOf<V>* m,
                 ScalarOf<V>* v, int64_t n, double* squares_w, double* squares_move) {
  constexpr int64_t kShort = 512;  // elements whose squares are added up in V
  const LambMove<V> move_of(p);
  const V keep = Of<V>(p.keep), scale = Of<V>(p.grad_scale);
  const V c1 = Of<V>(1 - p.beta1), c2 = Of<V>(1 - p.beta2);
  for (int64_t begin = 0; begin < n; begin += kShort) {
    V sum_w = V(0), sum_move = V(0);
    ForVectors<V>(
        n - begin < kShort ? n - begin : kShort, [&](int64_t offset,
                                                     int64_t count) __attribute__((always_inline)) {
          const int64_t i = begin + offset;
          const V d = LoadVecUpTo<V>(g + i, count) * scale;
          const V m1 = Toward(LoadVecUpTo<V>(m + i, count), d, c1);
          const V v1 = Toward(LoadVecUpTo<V>(v + i, count), d * d, c2);
          StoreVec(m + i, count, m1);
          StoreVec(v + i, count, v1);
          MaskOf<V> mask;
          FirstLanes(count, &mask);
          const V move = Select(mask, move_of(m1, v1), V(0));
          const V kept = LoadVecUpTo<V>(w + i, count) * keep;
          sum_w = Fma(kept, kept, sum_w);
          sum_move = Fma(move, move, sum_move);
        });
    *squares_w += static_cast<double>(ReduceAdd(sum_w));
    *squares_move += static_cast<double>(ReduceAdd(sum_move));
  }
}

template <class V>
void LambMoveRange(const LambParams& p, ScalarOf<V>* w, const ScalarOf<V>* m, const ScalarOf<V>* v,
                   int64_t n) {
  const LambMove<V> move_of(p);
  const V keep = Of<V>(p.keep), rate = Of<V>(p.rate);
  ForVectors<V>(
      n, [&](int64_t i, int64_t count) __attribute__((always_inline)) {
        const V move = move_of(LoadVecUpTo<V>(m + i, count), LoadVecUpTo<V>(v + i, count));
        StoreVec(w + i, count, LoadVecUpTo<V>(w + i, count) * keep - rate * move);
      });
}

template <class V, class... Rules>
constexpr void FillUpdates(DenseKernels<ScalarOf<V>>* k) {
  static_assert(sizeof...(Rules) == kNumOptimizerRules);
  int at = 0;
  ((k->updates[at++] = {Rules::kSlots, &Rules::Constants, &UpdateRange<V, Rules>}), ...);
}

template <class V>
constexpr void FillOptimizers(DenseKernels<ScalarOf<V>>* k) {
  FillUpdates<V, SgdRule<V>, MomentumRule<V>, AdamRule<V>, AdagradRule<V>,
              RmspropRule<V, false, false>, RmspropRule<V, true, false>, RmspropRule<V, true, true>,
              AdadeltaRule<V>, AdamaxRule<V>, NadamRule<V>, FtrlRule<V>, LionRule<V>, EmaRule<V>>(
      k);
  k->lamb_moments = &LambMoments<V>;
  k->lamb_move = &LambMoveRange<V>;
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
