// SPDX-License-Identifier: Apache-2.0
// One flat range of weights and its slots per call, once per instruction set. Formulas and the
// place of epsilon are Keras's; decoupled weight decay shrinks w before the update.
#pragma once

#include "backend/cpu/simd/rows_impl.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

template <class V>
void SgdRange(const SgdParams& p, ScalarOf<V>* w, const ScalarOf<V>* g, ScalarOf<V>* velocity,
              int64_t n) {
  using T = ScalarOf<V>;
  const V step = V(static_cast<T>(p.learning_rate * p.grad_scale));
  const V keep = V(static_cast<T>(1 - p.learning_rate * p.weight_decay));
  const V momentum = V(static_cast<T>(p.momentum));
  if (velocity == nullptr) {
    ForVectors<V>(
        n, [&](int64_t i, int64_t k) __attribute__((always_inline)) {
          StoreVec(w + i, k, LoadVecUpTo<V>(w + i, k) * keep - step * LoadVecUpTo<V>(g + i, k));
        });
    return;
  }
  const bool nesterov = p.nesterov;
  ForVectors<V>(
      n, [&](int64_t i, int64_t k) __attribute__((always_inline)) {
        const V d = step * LoadVecUpTo<V>(g + i, k);
        const V v = momentum * LoadVecUpTo<V>(velocity + i, k) - d;
        StoreVec(velocity + i, k, v);
        StoreVec(w + i, k, LoadVecUpTo<V>(w + i, k) * keep + (nesterov ? momentum * v - d : v));
      });
}

template <class V>
void AdamRange(const AdamParams& p, ScalarOf<V>* w, const ScalarOf<V>* g, ScalarOf<V>* m,
               ScalarOf<V>* v, int64_t n) {
  using T = ScalarOf<V>;
  const V alpha = V(static_cast<T>(p.alpha)), epsilon = V(static_cast<T>(p.epsilon));
  const V c1 = V(static_cast<T>(1 - p.beta1)), c2 = V(static_cast<T>(1 - p.beta2));
  const V keep = V(static_cast<T>(p.decay_factor)), scale = V(static_cast<T>(p.grad_scale));
  ForVectors<V>(
      n, [&](int64_t i, int64_t k) __attribute__((always_inline)) {
        const V d = LoadVecUpTo<V>(g + i, k) * scale;
        V m1 = LoadVecUpTo<V>(m + i, k), v1 = LoadVecUpTo<V>(v + i, k);
        m1 = m1 + (d - m1) * c1;
        v1 = v1 + (d * d - v1) * c2;
        StoreVec(m + i, k, m1);
        StoreVec(v + i, k, v1);
        StoreVec(w + i, k, LoadVecUpTo<V>(w + i, k) * keep - alpha * m1 / (Sqrt(v1) + epsilon));
      });
}

template <class V>
void AdagradRange(const AdagradParams& p, ScalarOf<V>* w, const ScalarOf<V>* g,
                  ScalarOf<V>* accumulator, int64_t n) {
  using T = ScalarOf<V>;
  const V rate = V(static_cast<T>(p.learning_rate)), epsilon = V(static_cast<T>(p.epsilon));
  const V keep = V(static_cast<T>(p.decay_factor)), scale = V(static_cast<T>(p.grad_scale));
  ForVectors<V>(
      n, [&](int64_t i, int64_t k) __attribute__((always_inline)) {
        const V d = LoadVecUpTo<V>(g + i, k) * scale;
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
