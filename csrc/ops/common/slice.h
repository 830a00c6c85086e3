// SPDX-License-Identifier: Apache-2.0
// Python's slices on static and symbolic sizes: one rule for slice, its gradient and the kernels.
#pragma once

#include <cstdint>
#include <span>

#include "ir/graph.h"
#include "ir/op_def.h"

namespace ostria::ops {

/// The elements start, start + step, …: `size` of them.
struct SliceRange {
  int64_t start = 0, step = 1, size = 0;
};

/// Resolves negative and outlying positions as Python does; `step` is not 0.
SliceRange ResolveSlice(int64_t n, int64_t start, int64_t stop, int64_t step);

/// The shape of x[start:stop:step, …] for x of `shape`; an empty `step` is 1 everywhere.
Shape SlicedShape(const InferContext& c, const Shape& shape, std::span<const int64_t> start,
                  std::span<const int64_t> stop, std::span<const int64_t> step);

/// Whether a node of `slice` takes the first elements along every axis, and no others: what is at a
/// place of the result is at the same place of the operand.
bool IsLeadingSlice(const Graph& graph, NodeId n);

}  // namespace ostria::ops
