// SPDX-License-Identifier: Apache-2.0
// Walking the runs of equal keys; runs.cu and extrema.cu instantiate it.
#pragma once

#include "kernels/data/instances.h"
#include "kernels/data/runs.h"

#if defined(OSTRIA_KERNEL_CODE)

namespace ostria::kernels {

/// Thread (o, j, k), of [outer, count, inner], works where run j begins.
template <class Rule, class T, class Number>
OSTRIA_DEVICE void WalkRuns(const RunsParams& p) {
  constexpr int kBatch = 8;
  const auto* __restrict__ updates = static_cast<const T*>(p.updates);
  auto* __restrict__ dst = static_cast<T*>(p.dst);
  const auto work = static_cast<Number>(p.outer * p.count * p.inner);
  const Number threads = static_cast<Number>(gridDim.x) * blockDim.x;
  for (Number i = static_cast<Number>(blockIdx.x) * blockDim.x + threadIdx.x; i < work;
       i += threads) {
    const Number line = Divide(i, p.inner, p.by_inner);
    const Number o = Divide(line, p.count, p.by_count);
    const auto k = static_cast<int64_t>(i - line * static_cast<Number>(p.inner));
    const auto begin = static_cast<int64_t>(line - o * static_cast<Number>(p.count));
    const uint32_t key = p.keys[begin];
    if (begin > 0 && p.keys[begin - 1] == key) continue;
    const T* const from = updates + static_cast<int64_t>(o) * p.count * p.inner + k;
    T* const to = dst + (static_cast<int64_t>(o) * p.size + key) * p.inner + k;
    auto acc = Rule::Start(*to);
    int64_t j = begin;
    for (bool more = true; more;) {  // loads are under way together, the order is that of the keys
      T held[kBatch];
      int n = 0;
      for (int b = 0; b < kBatch; ++b) {
        more = more && j + b < p.count && p.keys[j + b] == key;
        if (more) {
          held[b] = from[int64_t{p.positions[j + b]} * p.inner];
          n = b + 1;
        }
      }
      for (int b = 0; b < kBatch; ++b) {
        if (b < n) acc = Rule::Next(acc, held[b]);
      }
      j += n;
    }
    *to = Rule::End(acc, j - begin);
  }
}

/// The last update of a run is the only one that counts: thread (o, j, k) works where run j ends.
template <class T, class Number>
OSTRIA_DEVICE void CopyLast(const RunsParams& p) {
  const auto* __restrict__ updates = static_cast<const T*>(p.updates);
  auto* __restrict__ dst = static_cast<T*>(p.dst);
  const auto work = static_cast<Number>(p.outer * p.count * p.inner);
  const Number threads = static_cast<Number>(gridDim.x) * blockDim.x;
  for (Number i = static_cast<Number>(blockIdx.x) * blockDim.x + threadIdx.x; i < work;
       i += threads) {
    const Number line = Divide(i, p.inner, p.by_inner);
    const Number o = Divide(line, p.count, p.by_count);
    const auto k = static_cast<int64_t>(i - line * static_cast<Number>(p.inner));
    const auto j = static_cast<int64_t>(line - o * static_cast<Number>(p.count));
    const uint32_t key = p.keys[j];
    if (j + 1 < p.count && p.keys[j + 1] == key) continue;
    const auto outer = static_cast<int64_t>(o);
    dst[(outer * p.size + key) * p.inner + k] =
        updates[(outer * p.count + p.positions[j]) * p.inner + k];
  }
}

}  // namespace ostria::kernels

#define OSTRIA_RUNS(name, rule, suffix, T)                 \
  OSTRIA_KERNEL(runs_##name##_##suffix, RunsParams, 256) { \
    if (p.wide == 0) {                                     \
      WalkRuns<rule<T>, T, uint32_t>(p);                   \
    } else {                                               \
      WalkRuns<rule<T>, T, uint64_t>(p);                   \
    }                                                      \
  }

#endif
