// SPDX-License-Identifier: Apache-2.0
#include "ops/common/slice.h"

#include "ops/ops.h"

namespace ostria::ops {
namespace {

std::string Bound(int64_t at) {
  return at == INT64_MAX || at == INT64_MIN ? std::string() : StrCat(at);
}

/// A symbolic size after slicing; fails when it would depend on how large the axis turns out to be.
Dim SymbolicSize(const InferContext& c, const Shape& shape, int axis, int64_t start, int64_t stop,
                 int64_t step) {
  const Dim n = shape[axis];
  if (step == -1 && (start == -1 || start == INT64_MAX) && stop == INT64_MIN) return n;
  const int64_t first = start == INT64_MIN ? 0 : start;
  const bool open = stop == INT64_MAX;
  if (step > 0 && first >= 0 && (open || (stop < 0 && stop != INT64_MIN))) {
    const Dim left = n - Dim(first) - Dim(open ? 0 : -stop);
    return step == 1 ? left : FloorDiv(left + Dim(step - 1), step);
  }
  c.Fail("the size of [", Bound(start), ":", Bound(stop), step == 1 ? "" : ":",
         step == 1 ? std::string() : StrCat(step), "] along axis ", axis, " of shape ", shape,
         " depends on how large ", n,
         " is; on a symbolic dimension x[k:], x[:-k], x[::s] and x[::-1] "
         "are possible; use a fixed size, or gather");
}

}  // namespace

SliceRange ResolveSlice(int64_t n, int64_t start, int64_t stop, int64_t step) {
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
  const auto clamp = [&](int64_t at) {
    if (at < 0) {
      at += n;
      return at < 0 ? low : at;
    }
    return at >= n ? high : at;
  };
  const int64_t first = clamp(start), last = clamp(stop);
  int64_t size = 0;
  if (step > 0 && last > first) size = (last - first - 1) / step + 1;
  // Not -step: it does not exist for the smallest int64.
  if (step < 0 && last < first) size = (last - first + 1) / step + 1;
  return {first, step, size};
}

Shape SlicedShape(const InferContext& c, const Shape& shape, std::span<const int64_t> start,
                  std::span<const int64_t> stop, std::span<const int64_t> step) {
  const size_t rank = static_cast<size_t>(shape.rank());
  if (start.size() != rank || stop.size() != rank || (!step.empty() && step.size() != rank)) {
    c.Fail("start (", Join(start, ", "), "), stop (", Join(stop, ", "), ") and step (",
           Join(step, ", "), ") need one number for each axis of shape ", shape);
  }
  Shape out;
  for (int i = 0; i < shape.rank(); ++i) {
    const int64_t by = step.empty() ? 1 : step[i];
    if (by == 0) c.Fail("the step along axis ", i, " is 0; it must be positive or negative");
    out.Append(shape[i].is_static()
                   ? Dim(ResolveSlice(shape[i].value(), start[i], stop[i], by).size)
                   : SymbolicSize(c, shape, i, start[i], stop[i], by));
  }
  return out;
}

bool IsLeadingSlice(const Graph& g, NodeId n) {
  if (!g.is(n, kSlice)) return false;
  enum Attribute { kStart, kStop, kStep };
  using Ints = std::vector<int64_t>;
  const Shape& shape = g.shape(g.operand(n, 0));
  const Ints &start = g.attr<Ints>(n, kStart), &stop = g.attr<Ints>(n, kStop),
             &step = g.attr<Ints>(n, kStep);
  for (int d = 0; d < shape.rank(); ++d) {
    const auto i = static_cast<size_t>(d);
    const SliceRange range =
        ResolveSlice(shape[d].value(), start[i], stop[i], step.empty() ? 1 : step[i]);
    if (range.start != 0 || range.step != 1) return false;
  }
  return true;
}

}  // namespace ostria::ops
