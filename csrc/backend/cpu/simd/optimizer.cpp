// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/optimizer.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/simd/dense_table.h"
#include "base/parallel.h"

namespace ostria {
namespace {

constexpr int64_t kBlock = 64;    // elements: threads meet at cache lines
constexpr int64_t kGrain = 8192;  // elements worth a thread: about four streams of 32 KB

template <class T>
T* Advance(T* p, int64_t n) {
  return p == nullptr ? nullptr : p + n;
}

// The segments as one range of blocks, cut across threads.
template <class T, class Fn>
void ForSegments(const OptimizerSegment<T>* segments, int count, Fn fn) {
  int64_t blocks = 0;
  for (int s = 0; s < count; ++s) blocks += (segments[s].n + kBlock - 1) / kBlock;
  ParallelFor(blocks, kGrain / kBlock, [&](int64_t begin, int64_t end) {
    int64_t first = 0;
    for (int s = 0; s < count && first < end; ++s) {
      const OptimizerSegment<T>& all = segments[s];
      const int64_t size = (all.n + kBlock - 1) / kBlock;
      const int64_t from = std::max(begin - first, int64_t{0}) * kBlock;
      const int64_t to = std::min((end - first) * kBlock, all.n);
      if (from < to) {
        fn(OptimizerSegment<T>{all.w + from, all.g + from, Advance(all.m, from),
                               Advance(all.v, from), to - from});
      }
      first += size;
    }
  });
}

}  // namespace

template <class T>
void SgdUpdate(const SgdOptions& o, const OptimizerSegment<T>* segments, int count) {
  const SgdParams p = {o.learning_rate, o.momentum, o.weight_decay, o.grad_scale, o.nesterov};
  const auto fn = DenseOf<T>().sgd;
  ForSegments(segments, count, [&](const OptimizerSegment<T>& s) { fn(p, s.w, s.g, s.m, s.n); });
}

template <class T>
void AdamUpdate(const AdamOptions& o, const OptimizerSegment<T>* segments, int count) {
  const double t = static_cast<double>(o.step);
  const double alpha =
      o.learning_rate * std::sqrt(1 - std::pow(o.beta2, t)) / (1 - std::pow(o.beta1, t));
  const AdamParams p = {
      alpha, o.beta1, o.beta2, o.epsilon, 1 - o.learning_rate * o.weight_decay, o.grad_scale};
  const auto fn = DenseOf<T>().adam;
  ForSegments(segments, count,
              [&](const OptimizerSegment<T>& s) { fn(p, s.w, s.g, s.m, s.v, s.n); });
}

template <class T>
void AdagradUpdate(const AdagradOptions& o, const OptimizerSegment<T>* segments, int count) {
  const AdagradParams p = {o.learning_rate, o.epsilon, 1 - o.learning_rate * o.weight_decay,
                           o.grad_scale};
  const auto fn = DenseOf<T>().adagrad;
  ForSegments(segments, count, [&](const OptimizerSegment<T>& s) { fn(p, s.w, s.g, s.m, s.n); });
}

template void SgdUpdate<float>(const SgdOptions&, const OptimizerSegment<float>*, int);
template void SgdUpdate<double>(const SgdOptions&, const OptimizerSegment<double>*, int);
template void AdamUpdate<float>(const AdamOptions&, const OptimizerSegment<float>*, int);
template void AdamUpdate<double>(const AdamOptions&, const OptimizerSegment<double>*, int);
template void AdagradUpdate<float>(const AdagradOptions&, const OptimizerSegment<float>*, int);
template void AdagradUpdate<double>(const AdagradOptions&, const OptimizerSegment<double>*, int);

}  // namespace ostria
