// SPDX-License-Identifier: Apache-2.0
#include "ops/common/classes.h"

#include "ops/ops.h"

namespace ostria::ops {
namespace {

int64_t ClassesOf(std::span<const Attr> attrs) { return std::get<int64_t>(attrs[kClassesAttr]); }

Dim RowOf(const Shape& shape) { return shape[shape.rank() - 1]; }

}  // namespace

void RequireClasses(const InferContext& c) {
  const int64_t classes = c.attr<int64_t>(kClassesAttr);
  const Dim row = RowOf(c.shape(0));
  if (classes == -1) return;
  if (classes < 1 || !row.is_static() || classes > row.value()) {
    c.Fail("classes is ", classes, "; it must be from 1 to the ", row,
           " elements of a row of logits ", c.shape(0), ", or -1: all of them");
  }
}

bool HasTail(const Builder& b, Value logits, std::span<const Attr> attrs) {
  const int64_t classes = ClassesOf(attrs);
  return classes >= 0 && !(RowOf(b.shape(logits)) == Dim(classes));
}

Value WithoutTail(Builder& b, Value v, std::span<const Attr> attrs) {
  if (!HasTail(b, v, attrs)) return v;
  return b(kSliceAt, {v}, {int64_t{-1}, Shape{0}, Shape{ClassesOf(attrs)}});
}

Value WithTail(Builder& b, Value v, const ValueType& type) {
  const Shape shape = b.shape(v);
  if (shape == type.shape) return v;
  std::vector<int64_t> low(static_cast<size_t>(shape.rank())), high = low;
  high.back() = RowOf(type.shape).value() - RowOf(shape).value();
  return b(kPad, {v}, {low, high, 0.0});
}

}  // namespace ostria::ops
