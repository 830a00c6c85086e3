// SPDX-License-Identifier: Apache-2.0
// A thread per column; neighbouring threads read neighbouring indices and values.
#include "kernels/data/along_axis.h"
#include "kernels/data/instances.h"

namespace ostria::kernels {
namespace {

template <class Rule, class T, class Number>
OSTRIA_DEVICE void Put(const PutAlongParams& p) {
  const T* const values = static_cast<const T*>(p.values);
  const auto columns = static_cast<Number>(p.outer * p.inner);
  const Number threads = static_cast<Number>(gridDim.x) * blockDim.x;
  if (p.law.size == 0) return;
  for (Number column = static_cast<Number>(blockIdx.x) * blockDim.x + threadIdx.x; column < columns;
       column += threads) {
    const Number outer = Divide(column, p.inner, p.by_inner);
    const auto o = static_cast<int64_t>(outer);
    const auto k = static_cast<int64_t>(column - outer * static_cast<Number>(p.inner));
    T* const dst = static_cast<T*>(p.dst) + o * p.law.size * p.inner + k;
    int64_t at = o * p.count * p.inner + k;
    for (int64_t i = 0; i < p.count; ++i, at += p.inner) {
      T* const to = dst + IndexAt(p.indices, at, p.law, p.data_error, p.step) * p.inner;
      *to = Rule::End(Rule::Next(Rule::Start(*to), values[at]), 1);
    }
  }
}

template <class Rule, class T>
OSTRIA_DEVICE void Put(const PutAlongParams& p) {
  if (p.wide == 0) {
    Put<Rule, T, uint32_t>(p);
  } else {
    Put<Rule, T, uint64_t>(p);
  }
}

}  // namespace

#define OSTRIA_PUT(name, rule, suffix, T) \
  OSTRIA_KERNEL(put_along_##name##_##suffix, PutAlongParams, 256) { Put<rule<T>, T>(p); }

OSTRIA_FOR_SIZES(OSTRIA_PUT, update, UpdateRule)
OSTRIA_FOR_WIDE_FLOATS(OSTRIA_PUT, sum, SumRule)  // halves would be rounded after every addition
OSTRIA_FOR_UNSIGNED(OSTRIA_PUT, sum, SumRule)
OSTRIA_FOR_NUMBERS(OSTRIA_PUT, max, MaxRule)
OSTRIA_FOR_NUMBERS(OSTRIA_PUT, min, MinRule)

}  // namespace ostria::kernels
