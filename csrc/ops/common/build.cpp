// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"

#include "ops/ops.h"

namespace ostria::ops {

Value Full(Builder& b, const ValueType& type, double value) {
  return b(kFull, {}, {type.shape, type.dtype, value});
}

Value Scalar(Builder& b, DType dtype, double value) { return Full(b, {dtype, {}}, value); }

Value ZerosLike(Builder& b, Value v) {
  const ValueType type = b.type(v);  // a copy: adding a node moves the graph's types
  return Full(b, type, 0.0);
}

Value Cast(Builder& b, Value v, DType dtype) {
  return b.dtype(v) == dtype ? v : b(kCast, {v}, {dtype});
}

Value Reshape(Builder& b, Value v, const Shape& shape) {
  return b.shape(v) == shape ? v : b(kReshape, {v}, {shape});
}

Value BroadcastTo(Builder& b, Value v, const Shape& shape) {
  return b.shape(v) == shape ? v : b(kBroadcastTo, {v}, {shape});
}

Value SumTo(Builder& b, Value g, const Shape& shape) {
  const Shape from = b.shape(g);
  if (from == shape) return g;
  const int added = from.rank() - shape.rank();
  std::vector<int64_t> axes;
  for (int i = 0; i < from.rank(); ++i) {
    if (i < added || (shape[i - added] == Dim(1) && !(from[i] == Dim(1)))) axes.push_back(i);
  }
  if (!axes.empty()) g = b(kSum, {g}, {axes, true});
  return Reshape(b, g, shape);
}

Value DimProduct(Builder& b, const Shape& dims, DType dtype) {
  if (dims.is_static()) return Scalar(b, dtype, static_cast<double>(dims.numel()));
  return b(kDimProduct, {}, {dims, dtype});
}

Value Times(Builder& b, Value v, double c) {
  return c == 1.0 ? v : b(kMultiply, {v, Scalar(b, b.dtype(v), c)});
}

Value Plus(Builder& b, Value v, double c) {
  return c == 0.0 ? v : b(kAdd, {v, Scalar(b, b.dtype(v), c)});
}

}  // namespace ostria::ops
