// SPDX-License-Identifier: Apache-2.0
// The loops that run a rule of kernels/optim/rules.h over a flat range of weights and its slots,
// once per instruction set.
#pragma once

#include "backend/cpu/simd/rows_impl.h"
#include "kernels/optim/rules.h"

namespace ostria::simd {
inline namespace OSTRIA_ISA_NS {

using kernels::LambMove;
using kernels::Of;
using kernels::Toward;

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

template <class V>
void LambMoments(const LambParams& p, const ScalarOf<V>* w, const ScalarOf<V>* g, ScalarOf<V>* m,
                 ScalarOf<V>* v, int64_t n, double* squares_w, double* squares_move) {
  constexpr int64_t kShort = 512;  // elements whose squares are added up in V
  const LambMove<V> move_of(p.correct1, p.correct2, p.epsilon);
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
  const LambMove<V> move_of(p.correct1, p.correct2, p.epsilon);
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
  FillUpdates<V, kernels::SgdRule<V>, kernels::MomentumRule<V>, kernels::AdamRule<V>,
              kernels::AdagradRule<V>, kernels::RmspropRule<V, false, false>,
              kernels::RmspropRule<V, true, false>, kernels::RmspropRule<V, true, true>,
              kernels::AdadeltaRule<V>, kernels::AdamaxRule<V>, kernels::NadamRule<V>,
              kernels::FtrlRule<V>, kernels::LionRule<V>, kernels::EmaRule<V>>(k);
  k->lamb_moments = &LambMoments<V>;
  k->lamb_move = &LambMoveRange<V>;
}

}  // namespace OSTRIA_ISA_NS
}  // namespace ostria::simd
