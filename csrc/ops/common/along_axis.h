// SPDX-License-Identifier: Apache-2.0
// What take_along_axis and put_along_axis share: indices of x's rank that count along one axis, at
// the same place of all other axes, which broadcast.
#pragma once

#include "ops/common/infer.h"

namespace ostria::ops {

struct AlongAxisAttr {
  enum : int { kAxis, kReduce /* put_along_axis only */ };
};

/// `shape` with `size` along `axis`.
inline Shape WithSize(Shape shape, int axis, Dim size) {
  shape[axis] = size;
  return shape;
}

/// Inputs 0 and 1 have one rank, and input 1 is integers; the axis as 0..rank-1.
inline int RequireAlongAxis(const InferContext& c) {
  RequireIndex(c, 1);
  if (c.shape(0).rank() != c.shape(1).rank()) {
    c.Fail("'x' has shape ", c.shape(0), " and 'indices' has shape ", c.shape(1),
           "; both must have one rank");
  }
  return NormalizeAxis(c, c.attr<int64_t>(AlongAxisAttr::kAxis), c.shape(0));
}

}  // namespace ostria::ops
