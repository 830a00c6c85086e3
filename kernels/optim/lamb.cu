// SPDX-License-Identifier: Apache-2.0
#include "kernels/optim/lamb.h"

#include "kernels/common/block_reduce.h"
#include "kernels/optim/update_impl.h"

namespace ostria::kernels {
namespace {

struct LambNumbers {
  enum { kRate, kShare1, kShare2, kEpsilon, kCorrect1, kCorrect2 };
  OSTRIA_DEVICE static void Constants(const double* attrs, double lr, double step, double* c) {
    c[kRate] = lr;
    c[kShare1] = 1 - attrs[0], c[kShare2] = 1 - attrs[1], c[kEpsilon] = attrs[2];
    c[kCorrect1] = 1 - __builtin_pow(attrs[0], step);
    c[kCorrect2] = 1 - __builtin_pow(attrs[1], step);
  }
};
template <class T>
OSTRIA_DEVICE LambMove<T> MoveOf(const UpdateNumbers& n) {
  return LambMove<T>(n.c[LambNumbers::kCorrect1], n.c[LambNumbers::kCorrect2],
                     n.c[LambNumbers::kEpsilon]);
}

template <class T>
OSTRIA_DEVICE void Moments(const LambParams& p) {
  if (!*p.scalars.commit) return;
  const UpdateNumbers& numbers = NumbersOf<LambNumbers>(p.scalars);
  const LambMove<T> move_of = MoveOf<T>(numbers);
  const T keep = Of<T>(numbers.keep), scale = Of<T>(numbers.grad_scale);
  const T share1 = Of<T>(numbers.c[LambNumbers::kShare1]);
  const T share2 = Of<T>(numbers.c[LambNumbers::kShare2]);
  ForTiles(p, [&](const UpdateSegment& s, int64_t begin, int64_t end) {
    const T* const w = static_cast<const T*>(s.w) + begin;
    const T* const g = static_cast<const T*>(s.g) + begin;
    T* const m = static_cast<T*>(s.slots[0]) + begin;
    T* const v = static_cast<T*>(s.slots[1]) + begin;
    double squares_w = 0, squares_move = 0;
    const VectorSplit split = SplitSegment<T, 2>(s, begin, end - begin);
    ForVectors<T>(split, threadIdx.x, blockDim.x, [&]<int kCount>(int64_t i, Count<kCount>) {
      T weights[kCount], gradients[kCount], first[kCount], second[kCount];
      LoadVector(w + i, weights);
      LoadVector(g + i, gradients);
      LoadVector(static_cast<const T*>(m) + i, first);
      LoadVector(static_cast<const T*>(v) + i, second);
      for (int k = 0; k < kCount; ++k) {
        const T d = gradients[k] * scale;
        first[k] = Toward(first[k], d, share1);
        second[k] = Toward(second[k], d * d, share2);
        const T kept = weights[k] * keep, move = move_of(first[k], second[k]);
        squares_w += static_cast<double>(kept) * static_cast<double>(kept);
        squares_move += static_cast<double>(move) * static_cast<double>(move);
      }
      StoreVector(m + i, first);
      StoreVector(v + i, second);
    });
    squares_w = BlockSum(squares_w);
    squares_move = BlockSum(squares_move);
    if (threadIdx.x == 0) {
      double* const parts = p.parts + 2 * (s.first_tile + begin / kUpdateTile);
      parts[0] = squares_w;
      parts[1] = squares_move;
    }
  });
}

/// A block for each segment.
OSTRIA_DEVICE void Ratio(const LambParams& p) {
  if (!*p.scalars.commit) return;
  const int64_t first = p.segments[blockIdx.x].first_tile;
  const int64_t next =
      static_cast<int>(blockIdx.x) + 1 < p.count ? p.segments[blockIdx.x + 1].first_tile : p.tiles;
  double squares_w = 0, squares_move = 0;
  for (int64_t tile = first + threadIdx.x; tile < next; tile += blockDim.x) {
    squares_w += p.parts[2 * tile];
    squares_move += p.parts[2 * tile + 1];
  }
  squares_w = BlockSum(squares_w);
  squares_move = BlockSum(squares_move);
  if (threadIdx.x != 0) return;
  const double lr = *p.scalars.lr;
  const bool both = squares_w > 0 && squares_move > 0;
  p.rates[blockIdx.x] = both ? lr * Sqrt(squares_w / squares_move) : lr;
}

template <class T>
OSTRIA_DEVICE void MoveWeights(const LambParams& p) {
  if (!*p.scalars.commit) return;
  const UpdateNumbers& numbers = NumbersOf<LambNumbers>(p.scalars);
  const LambMove<T> move_of = MoveOf<T>(numbers);
  const T keep = Of<T>(numbers.keep);
  ForTiles(p, [&](const UpdateSegment& s, int64_t begin, int64_t end) {
    T* const w = static_cast<T*>(s.w) + begin;
    const T* const m = static_cast<const T*>(s.slots[0]) + begin;
    const T* const v = static_cast<const T*>(s.slots[1]) + begin;
    const T rate = Of<T>(p.rates[&s - p.segments]);
    ForVectors<T>(SplitVectors(end - begin, w, m, v), threadIdx.x, blockDim.x,
                  [&]<int kCount>(int64_t i, Count<kCount>) {
                    T weights[kCount], first[kCount], second[kCount];
                    LoadVector(static_cast<const T*>(w) + i, weights);
                    LoadVector(m + i, first);
                    LoadVector(v + i, second);
                    for (int k = 0; k < kCount; ++k) {
                      weights[k] = weights[k] * keep - rate * move_of(first[k], second[k]);
                    }
                    StoreVector(w + i, weights);
                  });
  });
}

}  // namespace

OSTRIA_KERNEL(lamb_moments_update_f32, LambParams, kUpdateThreads) { Moments<float>(p); }
OSTRIA_KERNEL(lamb_moments_update_f64, LambParams, kUpdateThreads) { Moments<double>(p); }
OSTRIA_KERNEL(lamb_ratio_update_f32, LambParams, kUpdateThreads) { Ratio(p); }
OSTRIA_KERNEL(lamb_ratio_update_f64, LambParams, kUpdateThreads) { Ratio(p); }
OSTRIA_KERNEL(lamb_move_update_f32, LambParams, kUpdateThreads) { MoveWeights<float>(p); }
OSTRIA_KERNEL(lamb_move_update_f64, LambParams, kUpdateThreads) { MoveWeights<double>(p); }

}  // namespace ostria::kernels
