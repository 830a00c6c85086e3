// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/optimizer.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/simd/dense_table.h"
#include "backend/cpu/simd/flush_denormals.h"
#include "base/parallel.h"

namespace ostria {
namespace {

constexpr int64_t kBlock = 64;    // elements: threads meet at cache lines
constexpr int64_t kGrain = 8192;  // elements worth a thread: about four streams of 32 KB

template <class T>
T* Advance(T* p, int64_t n) {
  return p == nullptr ? nullptr : p + n;
}

// Where part `part` of `parts` begins in n elements: at a multiple of `unit`.
int64_t Cut(int64_t n, int64_t unit, int64_t part, int64_t parts) {
  return std::min((n + unit - 1) / unit * part / parts * unit, n);
}

// Every thread gets its share of every segment, of an outer product whole rows: the rows whose
// products with a single example it also computes (kernels_linalg.cpp). Where two cores share no
// cache, a weight that one reads and the other writes costs several times as much.
template <class T, class Fn>
void ForSegments(const OptimizerSegment<T>* segments, int count, Fn fn) {
  int64_t elements = 0;
  for (int s = 0; s < count; ++s) elements += segments[s].n;
  const int64_t parts = std::clamp<int64_t>(elements / kGrain, 1, NumThreads());
  ParallelFor(parts, 1, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    for (int s = 0; s < count; ++s) {
      const OptimizerSegment<T>& all = segments[s];
      const int64_t unit = all.column == nullptr ? kBlock : all.cols;
      const int64_t from = Cut(all.n, unit, begin, parts), to = Cut(all.n, unit, end, parts);
      if (from == to) continue;
      Gradients<T> g = {all.g, nullptr};
      int64_t n = to - from;
      if (all.column == nullptr) {
        g.g += from;
      } else {
        g = {all.g, all.column + from / all.cols, n / all.cols};
        n = all.cols;
      }
      fn(all.w + from, g, Advance(all.m, from), Advance(all.v, from), n);
    }
  });
}

}  // namespace

template <class T>
void SgdUpdate(const SgdOptions& o, const OptimizerSegment<T>* segments, int count) {
  const SgdParams p = {o.learning_rate, o.momentum, o.weight_decay, o.grad_scale, o.nesterov};
  const auto fn = DenseOf<T>().sgd;
  ForSegments(segments, count,
              [&](T* w, const Gradients<T>& g, T* m, T*, int64_t n) { fn(p, w, g, m, n); });
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
              [&](T* w, const Gradients<T>& g, T* m, T* v, int64_t n) { fn(p, w, g, m, v, n); });
}

template <class T>
void AdagradUpdate(const AdagradOptions& o, const OptimizerSegment<T>* segments, int count) {
  const AdagradParams p = {o.learning_rate, o.epsilon, 1 - o.learning_rate * o.weight_decay,
                           o.grad_scale};
  const auto fn = DenseOf<T>().adagrad;
  ForSegments(segments, count,
              [&](T* w, const Gradients<T>& g, T* m, T*, int64_t n) { fn(p, w, g, m, n); });
}

template void SgdUpdate<float>(const SgdOptions&, const OptimizerSegment<float>*, int);
template void SgdUpdate<double>(const SgdOptions&, const OptimizerSegment<double>*, int);
template void AdamUpdate<float>(const AdamOptions&, const OptimizerSegment<float>*, int);
template void AdamUpdate<double>(const AdamOptions&, const OptimizerSegment<double>*, int);
template void AdagradUpdate<float>(const AdagradOptions&, const OptimizerSegment<float>*, int);
template void AdagradUpdate<double>(const AdagradOptions&, const OptimizerSegment<double>*, int);

}  // namespace ostria
