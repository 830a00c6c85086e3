// SPDX-License-Identifier: Apache-2.0
// The forward-backward recursion in logarithms, the states of a step side by side. A state is a
// place among the labels with blanks around: even ones are blanks, state 2 i + 1 is label i. What
// several states give to one class is added by one thread, in the order of the states.
#include "kernels/loss/ctc.h"

#include "kernels/common/block_reduce.h"
#include "kernels/common/dtype.h"
#include "kernels/scalar/math.h"

namespace ostria::kernels {
namespace {

OSTRIA_DEVICE int64_t IndexAt(const void* x, int64_t i, int wide) {
  return wide != 0 ? static_cast<const int64_t*>(x)[i] : static_cast<const int32_t*>(x)[i];
}

template <class T>
OSTRIA_DEVICE double Wide(const T* at) {
  return static_cast<double>(Load(at));
}

// A length in range; thread 0 says so when it is not.
OSTRIA_DEVICE int64_t LengthAt(const CtcParams& p, const void* x, int64_t b, int wide,
                               int64_t most) {
  const int64_t n = IndexAt(x, b, wide);
  if (n >= 0 && n <= most) return n;
  if (threadIdx.x == 0) ReportDataError(p.data_error, p.step, n, 0, most + 1);
  return min(max(n, int64_t{0}), most);
}

template <class T>
struct Sequence {
  using C = double;  // losses of hundreds leave few bits of a float
  const CtcParams& p;
  const T* logits;
  int64_t first_label;
  int time, states;

  OSTRIA_DEVICE explicit Sequence(const CtcParams& params, int64_t b)
      : p(params),
        logits(static_cast<const T*>(params.logits) + b * params.time * params.classes),
        first_label(b * params.max_labels),
        time(static_cast<int>(
            LengthAt(params, params.logit_lengths, b, params.wide_logit_lengths, params.time))),
        states(2 * static_cast<int>(LengthAt(params, params.label_lengths, b,
                                             params.wide_label_lengths, params.max_labels)) +
               1) {}

  static OSTRIA_DEVICE C Impossible() { return -Infinity<C>(); }

  OSTRIA_DEVICE int64_t Class(int state) const {
    if (state % 2 == 0) return p.blank;
    const int64_t label = IndexAt(p.labels, first_label + state / 2, p.wide_labels);
    return min(max(label, int64_t{0}), p.classes - 1);
  }
  OSTRIA_DEVICE void CheckLabels() const {
    OSTRIA_NO_UNROLL
    for (int i = static_cast<int>(threadIdx.x); i < states / 2; i += kCtcThreads) {
      const int64_t label = IndexAt(p.labels, first_label + i, p.wide_labels);
      if (label >= 0 && label < p.classes && label != p.blank) continue;
      ReportDataError(p.data_error, p.step, label, 0, p.classes);
    }
  }
  // Whether `state` may follow the one two before it: another label, its blank left out.
  OSTRIA_DEVICE bool Skips(int state) const {
    return state % 2 == 1 && state >= 3 && Class(state) != Class(state - 2);
  }
  static OSTRIA_DEVICE C LogAdd(C a, C b, C c) {
    const C top = max(a, max(b, c));
    if (top == Impossible()) return top;
    C sum = 0;
    OSTRIA_NO_UNROLL
    for (int i = 0; i < 3; ++i) sum += Exp((i == 0 ? a : i == 1 ? b : c) - top);
    return top + Log(sum);
  }
  OSTRIA_DEVICE C LogP(int t, int state, C normaliser) const {
    return Wide(logits + t * p.classes + Class(state)) - normaliser;
  }

  // log(sum(exp(logits))) of every step: a warp each.
  OSTRIA_DEVICE void Normalise(C* normalisers) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    OSTRIA_NO_UNROLL
    for (int t = static_cast<int>(threadIdx.x / 32); t < time; t += kCtcThreads / 32) {
      const T* const x = logits + t * p.classes;
      C top = Impossible(), sum = 0;
      OSTRIA_NO_UNROLL
      for (int64_t k = lane; k < p.classes; k += 32) top = Maxes()(top, Wide(x + k));
      top = WarpMax(top);
      if (top != Impossible()) {
        OSTRIA_NO_UNROLL
        for (int64_t k = lane; k < p.classes; k += 32) sum += Exp(Wide(x + k) - top);
      }
      sum = WarpSum(sum);
      if (lane == 0) normalisers[t] = top == Impossible() ? top : top + Log(sum);
    }
  }
  // What reaches each state at step t, from the step before; `before` is not read at step 0.
  OSTRIA_DEVICE void Forward(int t, C normaliser, const C* before, C* now) const {
    OSTRIA_NO_UNROLL
    for (int i = static_cast<int>(threadIdx.x); i < states; i += kCtcThreads) {
      C reaches = i < 2 ? C(0) : Impossible();
      if (t > 0) {
        reaches = LogAdd(before[i], i > 0 ? before[i - 1] : Impossible(),
                         Skips(i) ? before[i - 2] : Impossible());
      }
      now[i] = reaches + LogP(t, i, normaliser);
    }
  }
  // The logarithm of the probability, from the last step's states.
  OSTRIA_DEVICE C Total(const C* last) const {
    if (time == 0) return states == 1 ? C(0) : Impossible();
    return LogAdd(last[states - 1], states > 1 ? last[states - 2] : Impossible(), Impossible());
  }
};

template <class T>
OSTRIA_DEVICE void Loss(const CtcParams& p) {
  using C = double;  // losses of hundreds leave few bits of a float
  const int64_t row = 2 * p.max_labels + 1;
  for (int64_t b = blockIdx.x; b < p.batch; b += gridDim.x) {
    const Sequence<T> q(p, b);
    C* const normalisers = p.scratch + b * CtcScratch(p.time, p.max_labels, false);
    C *before = normalisers + p.time, *now = before + row;
    q.CheckLabels();
    q.Normalise(normalisers);
    __syncthreads();
    OSTRIA_NO_UNROLL
    for (int t = 0; t < q.time; ++t) {
      q.Forward(t, normalisers[t], before, now);
      __syncthreads();
      C* const done = now;
      now = before;
      before = done;
    }
    if (threadIdx.x == 0) {
      const C total = q.Total(before), loss = C(0) - total;  // and not -0
      const bool infinite = total == Infinity<C>() || total == -Infinity<C>();
      Store(static_cast<T*>(p.dst) + b,
            static_cast<Compute<T>>(p.zero_infinity != 0 && infinite ? C(0) : loss));
    }
  }
}

template <class T>
OSTRIA_DEVICE void LossGrad(const CtcParams& p) {
  using C = double;  // losses of hundreds leave few bits of a float
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int64_t row = 2 * p.max_labels + 1;
  for (int64_t b = blockIdx.x; b < p.batch; b += gridDim.x) {
    const Sequence<T> q(p, b);
    C* const normalisers = p.scratch + b * CtcScratch(p.time, p.max_labels, true);
    C* const alpha = normalisers + p.time;  // [time, states], then shares of the alignments
    C *after = alpha + p.time * row, *now = after + row;
    int32_t* const chain = p.chains + b * p.max_labels;
    q.CheckLabels();
    q.Normalise(normalisers);
    // The next label of the same class, or one beyond all; negative where an earlier one is of it.
    OSTRIA_NO_UNROLL
    for (int i = thread; i < q.states / 2; i += kCtcThreads) {
      int next = i + 1, before = i - 1;
      while (next < q.states / 2 && q.Class(2 * next + 1) != q.Class(2 * i + 1)) ++next;
      while (before >= 0 && q.Class(2 * before + 1) != q.Class(2 * i + 1)) --before;
      chain[i] = (next < q.states / 2 ? next : INT32_MAX / 2) * (before < 0 ? 1 : -1);
    }
    __syncthreads();
    OSTRIA_NO_UNROLL
    for (int t = 0; t < q.time; ++t) {
      q.Forward(t, normalisers[t], alpha + (t - (t > 0 ? 1 : 0)) * row, alpha + t * row);
      __syncthreads();
    }
    const C total = q.Total(alpha + (q.time - (q.time > 0 ? 1 : 0)) * row);
    __syncthreads();  // the last step's states become shares
    const int used = total == q.Impossible() ? 0 : q.time;
    const C g = Wide(static_cast<const T*>(p.g) + b);
    T* const dx = static_cast<T*>(p.dst) + b * p.time * p.classes;
    OSTRIA_NO_UNROLL
    for (int64_t k = used * p.classes + thread; k < p.time * p.classes; k += kCtcThreads) {
      Store(dx + k, Compute<T>(0));
    }
    OSTRIA_NO_UNROLL
    for (int t = used - 1; t >= 0; --t) {
      const T* const x = q.logits + t * p.classes;
      const C normaliser = normalisers[t];
      C* const share = alpha + t * row;
      OSTRIA_NO_UNROLL
      for (int i = thread; i < q.states; i += kCtcThreads) {
        C leads = i + 2 < q.states ? q.Impossible() : C(0);
        if (t < q.time - 1) {
          leads = q.LogAdd(after[i], i + 1 < q.states ? after[i + 1] : q.Impossible(),
                           i + 2 < q.states && q.Skips(i + 2) ? after[i + 2] : q.Impossible());
        }
        share[i] = Exp(share[i] + leads - total);
        now[i] = leads + q.LogP(t, i, normaliser);
      }
      OSTRIA_NO_UNROLL
      for (int64_t k = thread; k < p.classes; k += kCtcThreads) {
        Store(dx + t * p.classes + k, static_cast<Compute<T>>(g * Exp(Wide(x + k) - normaliser)));
      }
      __syncthreads();
      OSTRIA_NO_UNROLL
      for (int i = thread; i < q.states / 2; i += kCtcThreads) {
        if (chain[i] < 0) continue;
        C sum = share[2 * i + 1];
        int at = chain[i];
        while (at < q.states / 2) {
          sum += share[2 * at + 1];
          at = chain[at] < 0 ? -chain[at] : chain[at];
        }
        const int64_t k = q.Class(2 * i + 1);
        Store(dx + t * p.classes + k,
              static_cast<Compute<T>>(g * (Exp(Wide(x + k) - normaliser) - sum)));
      }
      if (thread >= kCtcThreads - 32) {  // the last warp, which has the fewest labels
        C sum = 0;
        OSTRIA_NO_UNROLL
        for (int i = 2 * lane; i < q.states; i += 64) sum += share[i];
        sum = WarpSum(sum);
        if (lane == 0) {
          Store(dx + t * p.classes + p.blank,
                static_cast<Compute<T>>(g * (Exp(Wide(x + p.blank) - normaliser) - sum)));
        }
      }
      C* const done = now;
      now = after;
      after = done;
    }
    __syncthreads();
  }
}

}  // namespace

#define OSTRIA_CTC(suffix, T)                                                    \
  OSTRIA_KERNEL(ctc_loss_double##suffix, CtcParams, kCtcThreads) { Loss<T>(p); } \
  OSTRIA_KERNEL(ctc_loss_grad_double##suffix, CtcParams, kCtcThreads) { LossGrad<T>(p); }
OSTRIA_CTC(_f32, float)
OSTRIA_CTC(_f64, double)
OSTRIA_CTC(_f16, Float16)
OSTRIA_CTC(_bf16, BFloat16)
#undef OSTRIA_CTC

}  // namespace ostria::kernels
