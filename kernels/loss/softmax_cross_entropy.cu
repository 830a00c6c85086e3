// SPDX-License-Identifier: Apache-2.0
// One pass over a row finds its maximum and the sum of exponentials: what a thread has summed
// shrinks when its maximum grows. The gradient reads the row once more and may take its place.
#include "kernels/loss/softmax_cross_entropy.h"

#include "kernels/common/block_reduce.h"
#include "kernels/common/vec.h"
#include "kernels/scalar/math.h"

namespace ostria::kernels {
namespace {

/// The largest of some numbers, and the sum of exp(x - largest).
template <class C>
struct Exponentials {
  C largest = -Infinity<C>();
  C sum = C(0);

  template <int kCount>
  OSTRIA_DEVICE void Add(const C (&x)[kCount]) {
    C now = largest;
    for (const C v : x) now = Max(v, now);
    if (now > largest) {
      sum *= Exp(largest - now);
      largest = now;
    }
    // Before anything is above -inf there is no difference to take.
    for (const C v : x) sum += v == -Infinity<C>() ? C(0) : Exp(v - largest);
  }
  OSTRIA_DEVICE C Rescaled(C to) const { return largest == to ? sum : sum * Exp(largest - to); }
};

/// The threads that share a row: a block or a warp.
template <bool kBlock>
struct Team {
  OSTRIA_DEVICE static int Thread() { return kBlock ? threadIdx.x : threadIdx.x % 32; }
  OSTRIA_DEVICE static int Threads() { return kBlock ? blockDim.x : 32; }
  OSTRIA_DEVICE static int64_t FirstRow() {
    return kBlock ? blockIdx.x : (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32;
  }
  OSTRIA_DEVICE static int64_t Rows() {
    return kBlock ? gridDim.x : int64_t{gridDim.x} * blockDim.x / 32;
  }
  template <class C>
  OSTRIA_DEVICE static C LargestOf(C x) {
    return kBlock ? BlockMax(x, -Infinity<C>()) : WarpMax(x);
  }
  template <class C>
  OSTRIA_DEVICE static C SumOf(C x) {
    return kBlock ? BlockSum(x) : WarpSum(x);
  }
  OSTRIA_DEVICE static void Wait() {
    if (kBlock) {
      __syncthreads();
    } else {
      __syncwarp();
    }
  }
};

OSTRIA_DEVICE int64_t LabelOf(const SoftmaxCrossEntropyParams& p, int64_t row, bool reports) {
  const int64_t label = p.wide_labels != 0 ? static_cast<const int64_t*>(p.labels)[row]
                                           : static_cast<const int32_t*>(p.labels)[row];
  if (label >= 0 && label < p.cols) return label;
  if (reports) ReportDataError(p.data_error, p.step, label, 0, p.cols);
  return label < 0 ? 0 : p.cols - 1;
}

template <class T, bool kBlock>
OSTRIA_DEVICE void CrossEntropy(const SoftmaxCrossEntropyParams& p) {
  using C = Compute<T>;
  using Us = Team<kBlock>;
  const int thread = Us::Thread(), threads = Us::Threads();
  for (int64_t row = Us::FirstRow(); row < p.rows; row += Us::Rows()) {
    const T* const x = static_cast<const T*>(p.logits) + row * p.stride;
    Exponentials<C> mine;
    ForVectors<T>(SplitVectors(p.cols, x), thread, threads,
                  [&]<int kCount>(int64_t i, Count<kCount>) {
                    C v[kCount];
                    LoadVector(x + i, v);
                    mine.Add(v);
                  });
    const C largest = Us::LargestOf(mine.largest);
    const C sum = Us::SumOf(mine.Rescaled(largest));
    const int64_t label = LabelOf(p, row, thread == 0);
    if (p.loss != nullptr && thread == 0) {
      const C chosen = p.cols > 0 ? Load(x + label) : C(0);
      const C loss = Log(sum) + largest - chosen;
      if (p.wide_rows != 0) {
        static_cast<float*>(p.loss)[row] = static_cast<float>(loss);
      } else {
        Store(static_cast<T*>(p.loss) + row, loss);
      }
    }
    if (p.dlogits == nullptr) continue;
    Us::Wait();  // the label's logit was read
    T* const dx = static_cast<T*>(p.dlogits) + row * p.stride;
    const C g = p.wide_rows != 0 ? C(static_cast<const float*>(p.g)[row])
                                 : Load(static_cast<const T*>(p.g) + row);
    const C over_sum = C(1) / sum;
    ForVectors<T>(SplitVectors(p.cols, x, dx), thread, threads,
                  [&]<int kCount>(int64_t i, Count<kCount>) {
                    C v[kCount];
                    LoadVector(x + i, v);
                    for (int k = 0; k < kCount; ++k) {
                      const C share = Exp(v[k] - largest) * over_sum;
                      v[k] = g * (i + k == label ? share - C(1) : share);
                    }
                    StoreVector(dx + i, v);
                  });
    for (int64_t i = p.cols + thread; i < p.stride; i += threads) Store(dx + i, C(0));
  }
}

}  // namespace

#define OSTRIA_CROSS_ENTROPY(suffix, T)                                          \
  OSTRIA_KERNEL(softmax_cross_entropy_block_##suffix, SoftmaxCrossEntropyParams, \
                kCrossEntropyMostThreads) {                                      \
    CrossEntropy<T, true>(p);                                                    \
  }                                                                              \
  OSTRIA_KERNEL(softmax_cross_entropy_warp_##suffix, SoftmaxCrossEntropyParams,  \
                kCrossEntropyThreads) {                                          \
    CrossEntropy<T, false>(p);                                                   \
  }
OSTRIA_CROSS_ENTROPY(f16, Float16)
OSTRIA_CROSS_ENTROPY(bf16, BFloat16)
OSTRIA_CROSS_ENTROPY(f32, float)
OSTRIA_CROSS_ENTROPY(f64, double)

}  // namespace ostria::kernels
