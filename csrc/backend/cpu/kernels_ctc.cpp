// SPDX-License-Identifier: Apache-2.0
// ctc_loss and its gradient: the forward-backward recursion of each sequence, in logarithms and in
// float64 whatever the dtype. A state is a place among the labels with blanks around: even ones are
// blanks, state 2 i + 1 is label i. Sequences are cut among threads; none is shared.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "backend/cpu/combine.h"
#include "backend/cpu/indices.h"
#include "backend/cpu/kernels.h"
#include "base/parallel.h"
#include "ops/common/ctc.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

using ops::CtcAttr;
using ops::CtcInput;

constexpr double kImpossible = -std::numeric_limits<double>::infinity();

struct CtcState final : KernelState {
  DType dtype = DType::kFloat32;
  int64_t batch = 0, time = 0, classes = 0, max_labels = 0, blank = 0;
  Indices labels, logit_lengths, label_lengths;
  bool zero_infinity = false;
  int64_t states() const { return 2 * max_labels + 1; }
};

Support Supports(const NodeDesc& d) { return NeedsDense(d); }

// Doubles of scratch that one sequence needs.
int64_t LossScratch(const CtcState& s) { return 2 * s.states(); }
int64_t GradScratch(const CtcState& s) {
  return (s.states() + 1) * s.time + 2 * s.states() + s.classes;
}

template <bool grad>
std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  auto s = std::make_unique<CtcState>();
  const MemDesc& logits = d.inputs[CtcInput::kLogits];
  s->dtype = logits.dtype;
  s->batch = logits.sizes[0];
  s->time = logits.sizes[1];
  s->classes = logits.sizes[2];
  s->max_labels = d.inputs[CtcInput::kLabels].sizes[1];
  s->labels = Indices::Of(d, CtcInput::kLabels, s->classes);
  s->logit_lengths = Indices::Of(d, CtcInput::kLogitLengths, s->time);
  s->label_lengths = Indices::Of(d, CtcInput::kLabelLengths, s->max_labels);
  const int64_t blank = d.attr<int64_t>(CtcAttr::kBlank);
  s->blank = blank < 0 ? blank + s->classes : blank;
  if constexpr (!grad) s->zero_infinity = d.attr<bool>(CtcAttr::kZeroInfinity);
  s->workspace_bytes = s->batch * (grad ? GradScratch(*s) : LossScratch(*s)) * 8;
  return s;
}

void CheckLength(const Indices& lengths, const void* data, int64_t b, std::string_view what) {
  const int64_t n = lengths.At(data, b);
  if (n >= 0 && n <= lengths.size) return;
  throw Error(ErrorCode::kIndexError, "ctc_loss",
              StrCat(what, "[", b, "] is ", n, ", but there are ", lengths.size,
                     "; lengths must be in 0..", lengths.size));
}

// Before anything is written, and outside the threads' loop, which must not throw.
void CheckData(const CtcState& s, void* const* ptrs) {
  for (int64_t b = 0; b < s.batch; ++b) {
    CheckLength(s.logit_lengths, ptrs[CtcInput::kLogitLengths], b, "logit_lengths");
    CheckLength(s.label_lengths, ptrs[CtcInput::kLabelLengths], b, "label_lengths");
    const int64_t n = s.label_lengths.At(ptrs[CtcInput::kLabelLengths], b);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t label = s.labels.At(ptrs[CtcInput::kLabels], b * s.max_labels + i);
      if (label >= 0 && label < s.classes && label != s.blank) continue;
      throw Error(ErrorCode::kIndexError, "ctc_loss",
                  StrCat("label ", label, " (labels[", b, ", ", i, "]) ",
                         label == s.blank ? "is the blank" : "is out of range",
                         "; labels must be in 0..", s.classes - 1, " and not ", s.blank,
                         "; shorten label_lengths where a row is padded"));
    }
  }
}

double LogAdd(double a, double b, double c = kImpossible) {
  const double top = std::max(a, std::max(b, c));
  if (top == kImpossible) return top;
  return top + std::log(std::exp(a - top) + std::exp(b - top) + std::exp(c - top));
}

template <class T>
double Wide(T v) {
  return static_cast<double>(Number(v));
}
template <class T>
T Rounded(double v) {
  if constexpr (sizeof(T) == 2) {
    return T(static_cast<float>(v));
  } else {
    return static_cast<T>(v);
  }
}

template <class T>
struct Sequence {
  Sequence(const CtcState& state, void* const* ptrs, int64_t b)
      : s(state),
        logits(static_cast<const T*>(ptrs[CtcInput::kLogits]) + b * s.time * s.classes),
        labels(ptrs[CtcInput::kLabels]),
        first_label(b * s.max_labels),
        time(s.logit_lengths.At(ptrs[CtcInput::kLogitLengths], b)),
        states(2 * s.label_lengths.At(ptrs[CtcInput::kLabelLengths], b) + 1) {}

  int64_t Class(int64_t state) const {
    return state % 2 == 0 ? s.blank : s.labels.At(labels, first_label + state / 2);
  }
  /// Whether `state` may follow the one two before it: another label, its blank left out.
  bool Skips(int64_t state) const {
    return state % 2 == 1 && state >= 3 && Class(state) != Class(state - 2);
  }
  const T* Row(int64_t t) const { return logits + t * s.classes; }
  /// log(sum(exp(logits))) of a step.
  double Normaliser(int64_t t) const {
    const T* x = Row(t);
    double top = Wide(x[0]), sum = 0;
    for (int64_t i = 1; i < s.classes; ++i) top = std::max(top, Wide(x[i]));
    if (top == kImpossible) return top;
    for (int64_t i = 0; i < s.classes; ++i) sum += std::exp(Wide(x[i]) - top);
    return top + std::log(sum);
  }
  double LogP(int64_t t, int64_t state, double normaliser) const {
    return Wide(Row(t)[Class(state)]) - normaliser;
  }

  // What reaches each state at step t, from the step before; `before` is not read at step 0.
  void Forward(int64_t t, double normaliser, const double* before, double* now) const {
    for (int64_t i = 0; i < states; ++i) {
      double reaches = kImpossible;
      if (t == 0) {
        if (i < 2) reaches = 0;
      } else {
        reaches = LogAdd(before[i], i > 0 ? before[i - 1] : kImpossible,
                         Skips(i) ? before[i - 2] : kImpossible);
      }
      now[i] = reaches + LogP(t, i, normaliser);
    }
  }
  /// The logarithm of the probability, from the last step's states.
  double Total(const double* last) const {
    if (time == 0) return states == 1 ? 0 : kImpossible;
    return LogAdd(last[states - 1], states > 1 ? last[states - 2] : kImpossible);
  }

  const CtcState& s;
  const T* logits;
  const void* labels;
  int64_t first_label, time, states;
};

template <class T>
T Loss(const Sequence<T>& q, double* scratch) {
  double *before = scratch, *now = scratch + q.s.states();
  for (int64_t t = 0; t < q.time; ++t) {
    q.Forward(t, q.Normaliser(t), before, now);
    std::swap(before, now);
  }
  const double loss = 0.0 - q.Total(before);  // and not -0
  return Rounded<T>(q.s.zero_infinity && std::isinf(loss) ? 0.0 : loss);
}

template <class T>
void LossGrad(const Sequence<T>& q, double g, double* scratch, T* dx) {
  const int64_t row = q.s.states(), classes = q.s.classes;
  double* alpha = scratch;                      // [time, states]
  double* normaliser = alpha + q.s.time * row;  // [time]
  double* after = normaliser + q.s.time;        // [states]: emissions from the next step on
  double* now = after + row;                    // [states]
  double* slopes = now + row;                   // [classes]
  for (int64_t t = 0; t < q.time; ++t) {
    normaliser[t] = q.Normaliser(t);
    q.Forward(t, normaliser[t], alpha + (t - (t > 0)) * row, alpha + t * row);
  }
  const double total = q.Total(alpha + (q.time - (q.time > 0)) * row);
  const int64_t used = total == kImpossible ? 0 : q.time;
  std::fill(dx + used * classes, dx + q.s.time * classes, Rounded<T>(0));
  for (int64_t t = used - 1; t >= 0; --t) {
    for (int64_t i = 0; i < q.states; ++i) {
      if (t == q.time - 1) {
        now[i] = i + 2 < q.states ? kImpossible : 0;
      } else {
        now[i] = LogAdd(after[i], i + 1 < q.states ? after[i + 1] : kImpossible,
                        i + 2 < q.states && q.Skips(i + 2) ? after[i + 2] : kImpossible);
      }
    }
    const T* x = q.Row(t);
    for (int64_t k = 0; k < classes; ++k) slopes[k] = std::exp(Wide(x[k]) - normaliser[t]);
    for (int64_t i = 0; i < q.states; ++i) {
      slopes[q.Class(i)] -= std::exp(alpha[t * row + i] + now[i] - total);
      now[i] += q.LogP(t, i, normaliser[t]);
    }
    for (int64_t k = 0; k < classes; ++k) dx[t * classes + k] = Rounded<T>(g * slopes[k]);
    std::swap(after, now);
  }
}

template <class Fn>
void ForSequences(const CtcState& s, Fn fn) {
  constexpr int64_t kGrain = 1 << 10;  // exponentials, some tens of microseconds
  const int64_t work = std::max<int64_t>(s.time * (s.classes + 4 * s.states()), 1);
  ParallelFor(s.batch, std::max<int64_t>(kGrain / work, 1), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) fn(b);
  });
}

template <bool grad>
void Launch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const CtcState&>(state);
  CheckData(s, ptrs);
  DispatchDType(s.dtype, [&]<class T>(T*) {
    if constexpr (!std::is_integral_v<T>) {
      constexpr int kInputs = grad ? CtcInput::kG + 1 : CtcInput::kG;
      T* out = static_cast<T*>(ptrs[kInputs]);
      auto* scratch = static_cast<double*>(ptrs[kInputs + 1]);
      ForSequences(s, [&](int64_t b) {
        const Sequence<T> q(s, ptrs, b);
        if constexpr (grad) {
          const double g = Wide(static_cast<const T*>(ptrs[CtcInput::kG])[b]);
          LossGrad(q, g, scratch + b * GradScratch(s), out + b * s.time * s.classes);
        } else {
          out[b] = Loss(q, scratch + b * LossScratch(s));
        }
      });
    }
  });
}

constexpr KernelDef kKernels[] = {
    {&ops::kCtcLoss, "forward", Supports, Prepare<false>, Launch<false>},
    {&ops::kCtcLossGrad, "forward_backward", Supports, Prepare<true>, Launch<true>},
};

}  // namespace

std::span<const KernelDef> CtcKernels() { return kKernels; }

}  // namespace ostria::cpu
