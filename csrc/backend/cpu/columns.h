// SPDX-License-Identifier: Apache-2.0
// A tensor as [outer, axis, inner]: loops over its columns along the axis, cut among threads so
// that each column belongs to one. What is computed along a column then depends on no thread count.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/parallel.h"
#include "core/mem_desc.h"

namespace ostria::cpu {

struct Columns {
  int64_t outer = 1, size = 0, inner = 1;  // size: along the axis

  static Columns Of(const MemDesc& x, int axis) {
    Columns c;
    c.size = x.sizes[axis];
    for (int i = 0; i < axis; ++i) c.outer *= x.sizes[i];
    for (int i = axis + 1; i < x.rank; ++i) c.inner *= x.sizes[i];
    return c;
  }
  int64_t count() const { return outer * inner; }
};

/// Calls fn(o, begin, end) for the inner range of each outer index; `work`: of one column, in
/// elements.
template <class Fn>
void ForColumns(const Columns& c, int64_t work, const Fn& fn) {
  constexpr int64_t kGrain = 1 << 14;
  const int64_t whole_lines = std::min<int64_t>(c.inner, 64);
  const int64_t grain = std::max(kGrain / std::max<int64_t>(work, 1), whole_lines);
  ParallelFor(c.count(), grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t o = begin / c.inner, k = begin % c.inner;
      const int64_t n = std::min(c.inner - k, end - begin);
      fn(o, k, k + n);
      begin += n;
    }
  });
}

}  // namespace ostria::cpu
