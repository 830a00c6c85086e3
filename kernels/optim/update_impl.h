// SPDX-License-Identifier: Apache-2.0
// What the kernels of updates share: the numbers of one step, computed once per block, and the walk
// of blocks over tiles of segments.
#pragma once

#include "kernels/common/vec.h"
#include "kernels/optim/rules.h"
#include "kernels/optim/update.h"

namespace ostria::kernels {

struct UpdateNumbers {
  double keep = 1, grad_scale = 1;
  double c[8] = {};  // as Rule::Constants makes them
};

/// Reads the scalars of the step; called by all threads of a block.
template <class Rule>
OSTRIA_DEVICE const UpdateNumbers& NumbersOf(const UpdateScalars& s) {
  OSTRIA_SHARED(UpdateNumbers, numbers, 1);
  if (threadIdx.x == 0) {
    const double lr = *s.lr;
    double step = 1;
    if (s.step != nullptr) {
      step = s.float_step != 0 ? static_cast<double>(*static_cast<const float*>(s.step))
                               : static_cast<double>(*static_cast<const int64_t*>(s.step));
    }
    numbers[0].keep = 1 - lr * s.weight_decay;
    numbers[0].grad_scale = *s.grad_scale;
    Rule::Constants(s.attrs, lr, step, numbers[0].c);
  }
  __syncthreads();
  return numbers[0];
}

/// Calls fn(segment, begin, end) for the tiles of this block.
template <class Params, class Fn>
OSTRIA_DEVICE void ForTiles(const Params& p, Fn fn) {
  int at = 0;
  for (int64_t tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    while (at + 1 < p.count && p.segments[at + 1].first_tile <= tile) ++at;
    const UpdateSegment& segment = p.segments[at];
    const int64_t begin = (tile - segment.first_tile) * kUpdateTile;
    fn(segment, begin, min(segment.n, begin + kUpdateTile));
  }
}

/// Moves kCount weights from element i on. `g` holds their gradients.
template <class T, class Rule, int kCount>
OSTRIA_DEVICE void Move(const Rule& rule, T keep, T scale, T* w, T* const* slots, int64_t i,
                        const T (&g)[kCount]) {
  constexpr int kSlots = Rule::kSlots;
  T weights[kCount], state[kSlots + 1][kCount];
  LoadVector(w + i, weights);
  for (int k = 0; k < kSlots; ++k) LoadVector(slots[k] + i, state[k]);
  for (int e = 0; e < kCount; ++e) {
    T s[kSlots + 1];
    for (int k = 0; k < kSlots; ++k) s[k] = state[k][e];
    weights[e] = rule(weights[e] * keep, g[e] * scale, s);
    for (int k = 0; k < kSlots; ++k) state[k][e] = s[k];
  }
  for (int k = 0; k < kSlots; ++k) StoreVector(slots[k] + i, state[k]);
  StoreVector(w + i, weights);
}

/// How n elements split from `begin` on, over which a segment's tensors are aligned alike.
template <class T, int kSlots, class Segment>
OSTRIA_DEVICE VectorSplit SplitSegment(const Segment& s, int64_t begin, int64_t n) {
  const auto at = [begin](const void* p) { return static_cast<const T*>(p) + begin; };
  if constexpr (kSlots == 0) {
    return SplitVectors(n, at(s.w), at(s.g));
  } else if constexpr (kSlots == 1) {
    return SplitVectors(n, at(s.w), at(s.g), at(s.slots[0]));
  } else if constexpr (kSlots == 2) {
    return SplitVectors(n, at(s.w), at(s.g), at(s.slots[0]), at(s.slots[1]));
  } else {
    return SplitVectors(n, at(s.w), at(s.g), at(s.slots[0]), at(s.slots[1]), at(s.slots[2]));
  }
}

template <class T, class Rule>
OSTRIA_DEVICE void Update(const UpdateParams& p) {
  if (!*p.scalars.commit) return;
  const UpdateNumbers& numbers = NumbersOf<Rule>(p.scalars);
  const Rule rule(numbers.c);
  const T keep = Of<T>(numbers.keep), scale = Of<T>(numbers.grad_scale);
  ForTiles(p, [&](const UpdateSegment& s, int64_t begin, int64_t end) {
    T* slots[kUpdateSlots];
    for (int k = 0; k < kUpdateSlots; ++k) slots[k] = static_cast<T*>(s.slots[k]) + begin;
    T* const w = static_cast<T*>(s.w) + begin;
    const T* const g = static_cast<const T*>(s.g) + begin;
    const VectorSplit split = SplitSegment<T, Rule::kSlots>(s, begin, end - begin);
    ForVectors<T>(split, threadIdx.x, blockDim.x, [&]<int kCount>(int64_t i, Count<kCount>) {
      T gradients[kCount];
      LoadVector(g + i, gradients);
      Move(rule, keep, scale, w, slots, i, gradients);
    });
  });
}

/// Lanes of one row take its elements in turn.
template <class T, class Rule>
OSTRIA_DEVICE void UpdateRows(const UpdateRowsParams& p) {
  if (!*p.scalars.commit) return;
  const UpdateNumbers& numbers = NumbersOf<Rule>(p.scalars);
  const Rule rule(numbers.c);
  const T keep = Of<T>(numbers.keep), scale = Of<T>(numbers.grad_scale);
  int at = 0;
  for (int64_t group = blockIdx.x; group < p.groups; group += gridDim.x) {
    while (at + 1 < p.count && p.segments[at + 1].first_group <= group) ++at;
    const UpdateRowsSegment& s = p.segments[at];
    const int lanes = LanesOfRow(s.cols);
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t row = (group - s.first_group) * RowsOfGroup(s.cols) + threadIdx.x / lanes;
    const int64_t rows = s.named != nullptr ? s.named[0] : s.rows;
    const bool mine = row < rows;
    const T* const g = static_cast<const T*>(s.g) + row * s.cols;
    if (p.lazy != 0) {
      bool moves = false;
      for (int64_t i = lane; mine && i < s.cols; i += lanes) moves |= g[i] != T(0);
      const unsigned first = threadIdx.x % 32 - static_cast<unsigned>(lane);
      const unsigned of_row = (lanes == 32 ? ~0u : (1u << lanes) - 1) << first;
      if ((__ballot_sync(~0u, moves) & of_row) == 0) continue;
    }
    if (!mine) continue;
    const int64_t begin = (s.named != nullptr ? s.named[1 + row] : row) * s.cols;
    T* slots[kUpdateSlots];
    for (int k = 0; k < kUpdateSlots; ++k) slots[k] = static_cast<T*>(s.slots[k]) + begin;
    for (int64_t i = lane; i < s.cols; i += lanes) {
      const T gradient[1] = {g[i]};
      Move(rule, keep, scale, static_cast<T*>(s.w) + begin, slots, i, gradient);
    }
  }
}

}  // namespace ostria::kernels

/// Kernels `name` of Rule<float> and Rule<double>.
#define OSTRIA_UPDATE_KERNELS(name, Function, Params, Rule)                              \
  OSTRIA_KERNEL(name##_f32, Params, kUpdateThreads) { Function<float, Rule<float>>(p); } \
  OSTRIA_KERNEL(name##_f64, Params, kUpdateThreads) { Function<double, Rule<double>>(p); }
