// SPDX-License-Identifier: Apache-2.0
// What the files of sort/ share: the order, one axis, and how many comparisons a sort counts.
// Order: as `less`, equal elements as they came, NaN last, ascending and descending.
#pragma once

#include <bit>
#include <span>

#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria::ops {

enum SortAttribute { kSortAxis, kSortDescending };
inline constexpr InputDef kSortInputs[] = {{"x"}};
inline constexpr AttrDef kSortAttrs[] = {{"axis", AttrType::kInt, "-1"},
                                         {"descending", AttrType::kBool, "false"}};

struct TopKAttr {
  enum : int { kK, kAxis, kLargest };
};
struct SearchAttr {
  enum : int { kSide };
};

/// The smallest number of comparisons that tells n things apart one by one: ceil(log2(n)).
inline double ComparisonsEach(int64_t n) {
  return n < 2 ? 0 : static_cast<double>(std::bit_width(static_cast<uint64_t>(n - 1)));
}

/// ceil(log2(n)) comparisons per element, n the size of the axis.
inline double SortFlops(std::span<const ValueType> in, int64_t axis) {
  const Shape& shape = in[0].shape;
  return static_cast<double>(shape.numel()) *
         ComparisonsEach(shape[Axis(axis, shape.rank())].value());
}

}  // namespace ostria::ops
