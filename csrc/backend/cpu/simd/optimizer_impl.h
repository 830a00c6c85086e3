// SPDX-License-Identifier: Apache-2.0
// One flat range of weights and its slots per call, once per instruction set. Formulas and the
// place of epsilon are Keras's; decoupled weight decay shrinks w before the update.
#pragma once

#include "backend/cpu/simd/rows_impl.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

// Calls fn(offset, count, gradients) for vectors of weights.
template <class V, class F>
OSTRIA_FN void ForGradients(const Gradients<ScalarOf<V>>& g, int64_t n, F fn) {
  if (g.column == nullptr) {
    ForVectors<V>(
        n, [&](int64_t i, int64_t k)
               __attribute__((always_inline)) { fn(i, k, LoadVecUpTo<V>(g.g + i, k)); });
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

template <class V>
void SgdRange(const SgdParams& p, ScalarOf<V>* w, const Gradients<ScalarOf<V>>& gradients,
              ScalarOf<V>* velocity, int64_t n) {
  using T = ScalarOf<V>;
  const V step = V(static_cast<T>(p.learning_rate * p.grad_scale));
  const V keep = V(static_cast<T>(1 - p.learning_rate * p.weight_decay));
  const V momentum = V(static_cast<T>(p.momentum));
  if (velocity == nullptr) {
    ForGradients<V>(
        gradients, n, [&](int64_t i, int64_t k, V g) __attribute__((always_inline)) {
          StoreVec(w + i, k, LoadVecUpTo<V>(w + i, k) * keep - step * g);
        });
    return;
  }
  const bool nesterov = p.nesterov;
  ForGradients<V>(
      gradients, n, [&](int64_t i, int64_t k, V g) __attribute__((always_inline)) {
        const V d = step * g;
        const V v = momentum * LoadVecUpTo<V>(velocity + i, k) - d;
        StoreVec(velocity + i, k, v);
        StoreVec(w + i, k, LoadVecUpTo<V>(w + i, k) * keep + (nesterov ? momentum * v - d : v));
      });
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
void AdamRange(const AdamParams& p, ScalarOf<V>* w, const Gradients<ScalarOf<V>>& gradients,
               ScalarOf<V>* m, ScalarOf<V>* v, int64_t n) {
  using T = ScalarOf<V>;
  const V alpha = V(static_cast<T>(p.alpha)), epsilon = V(static_cast<T>(p.epsilon));
  const V c1 = V(static_cast<T>(1 - p.beta1)), c2 = V(static_cast<T>(1 - p.beta2));
  const V keep = V(static_cast<T>(p.decay_factor)), scale = V(static_cast<T>(p.grad_scale));
  ForGradients<V>(
      gradients, n, [&](int64_t i, int64_t k, V g) __attribute__((always_inline)) {
        const V d = g * scale;
        V m1 = LoadVecUpTo<V>(m + i, k), v1 = LoadVecUpTo<V>(v + i, k);
        m1 = m1 + (d - m1) * c1;
        v1 = v1 + (d * d - v1) * c2;
        StoreVec(m + i, k, m1);
        StoreVec(v + i, k, v1);
        StoreVec(w + i, k, LoadVecUpTo<V>(w + i, k) * keep - OverRoot(alpha * m1, v1, epsilon));
      });
}

template <class V>
void AdagradRange(const AdagradParams& p, ScalarOf<V>* w, const Gradients<ScalarOf<V>>& gradients,
                  ScalarOf<V>* accumulator, int64_t n) {
  using T = ScalarOf<V>;
  const V rate = V(static_cast<T>(p.learning_rate)), epsilon = V(static_cast<T>(p.epsilon));
  const V keep = V(static_cast<T>(p.decay_factor)), scale = V(static_cast<T>(p.grad_scale));
  ForGradients<V>(
      gradients, n, [&](int64_t i, int64_t k, V g) __attribute__((always_inline)) {
        const V d = g * scale;
        const V a = LoadVecUpTo<V>(accumulator + i, k) + d * d;
        StoreVec(accumulator + i, k, a);
        StoreVec(w + i, k, LoadVecUpTo<V>(w + i, k) * keep - rate * d / Sqrt(a + epsilon));
      });
}

template <class V>
constexpr void FillOptimizers(DenseKernels<ScalarOf<V>>* k) {
  k->sgd = &SgdRange<V>;
  k->adam = &AdamRange<V>;
  k->adagrad = &AdagradRange<V>;
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
