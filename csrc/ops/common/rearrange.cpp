// SPDX-License-Identifier: Apache-2.0
#include "ops/common/rearrange.h"

#include "ops/ops.h"

namespace ostria::ops {

Value RepeatBlocks(Builder& b, Value x, int axis, int split, int64_t times) {
  Shape shape = b.shape(x);
  if (times == 1) return x;
  Dim outer = 1, block = 1;
  for (int i = 0; i < shape.rank(); ++i)
    (i < split ? outer : block) = (i < split ? outer : block) * shape[i];
  x = b(kReshape, {x}, {Shape{outer, 1, block}});
  x = b(kBroadcastTo, {x}, {Shape{outer, times, block}});
  shape[axis] = shape[axis] * Dim(times);
  return b(kReshape, {x}, {shape});
}

void RequireTimes(const InferContext& c, int64_t times) {
  if (times < 0) c.Fail(times, " repetitions are not possible; give an integer, 0 or more");
}

void InferTriangle(InferContext& c) {
  if (c.shape(0).rank() < 2) {
    c.Fail("needs a tensor of rank 2 or more, but 'x' has shape ", c.shape(0), "; reshape it");
  }
  c.Out(c.input(0));
}

std::vector<Value> KeepTriangle(Builder& b, std::span<const Value> in, std::span<const Attr> attrs,
                                const OpDef& compare) {
  const ValueType type = b.type(in[0]);
  const int rank = type.shape.rank();
  const Dim rows = type.shape[rank - 2], columns = type.shape[rank - 1];
  const Value row = b(kReshape, {b(kIota, {}, {Shape{rows}, DType::kInt64})}, {Shape{rows, 1}});
  const Value ahead = b(kSubtract, {b(kIota, {}, {Shape{columns}, DType::kInt64}), row});
  const double k = static_cast<double>(std::get<int64_t>(attrs[0]));
  const Value kept = b(compare, {ahead, Scalar(b, DType::kInt64, k)});
  return {b(kWhere, {kept, in[0], Scalar(b, type.dtype, 0.0)})};
}

}  // namespace ostria::ops
