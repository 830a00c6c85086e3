// SPDX-License-Identifier: Apache-2.0
#include "ops/common/recurrent.h"

#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria::ops {

RecurrentSizes InferRecurrent(const InferContext& c, int first, int64_t gates) {
  RequireFloat(c, 0);
  const Shape &x = c.shape(first), &recurrent = c.shape(first + 2);
  RequireRank(c, first, 3, "[batch, time, features]");
  RequireRank(c, first + 2, 2, "[units, gates * units]");
  if (!x[1].is_static() || x[1].value() < 1) {
    c.Fail("'x' has shape ", x, "; the number of steps, axis 1, must be known and at least 1");
  }
  RequireSameDType(c, 0, first);
  const Dim units = recurrent[0];
  RequireShape(c, first + 1, {x[2], units * gates});
  RequireShape(c, first + 2, {units, units * gates});
  return {x[0], x[1], units};
}

void RequireShape(const InferContext& c, int i, const Shape& shape) {
  RequireSameDType(c, 0, i);
  if (c.shape(i) == shape) return;
  c.Fail("'", InputName(c, i), "' must have shape ", shape, ", but has shape ", c.shape(i),
         "; sequences are [batch, time, features], states [batch, units], and gates lie side by "
         "side in the last axis of kernels");
}

void RequireLengths(const InferContext& c, int i, Dim batch) {
  if (i >= c.size()) return;
  RequireIndex(c, i);
  if (c.shape(i) == Shape{batch}) return;
  c.Fail("'", InputName(c, i), "' must have shape ", Shape{batch}, ", one length per row, but has ",
         "shape ", c.shape(i));
}

Steps::Steps(Builder& b, Value x, bool reverse, Value lengths)
    : b_(b), count_(b.shape(x)[1].value()), reverse_(reverse), lengths_(lengths) {
  if (!lengths.valid()) return;
  const Value column = Reshape(b, lengths, {b.shape(x)[0], 1});
  for (int64_t t = 0; t < count_; ++t) {
    const Value place = Scalar(b, b.dtype(lengths), static_cast<double>(t));
    active_.push_back(b(kGreater, {column, place}));
  }
}

Value Steps::Take(Value sequence, int64_t t) {
  const Shape shape = b_.shape(sequence);
  const Value step = b_(kSliceAt, {sequence}, {int64_t{1}, Shape{t}, Shape{1}});
  return Reshape(b_, step, {shape[0], shape[2]});
}

Value Steps::Choose(int64_t t, Value a, Value b) {
  return lengths_.valid() ? b_(kWhere, {active_[t], a, b}) : a;
}

Value Steps::OrZero(int64_t t, Value a) {
  return lengths_.valid() ? Choose(t, a, ZerosLike(b_, a)) : a;
}

Value Steps::Before(int64_t i, Value sequence, Value first) {
  const int64_t t = At(i - 1);
  if (t < 0) return first;
  const Value step = Take(sequence, t);
  // Backwards, a row's first step is the last one that it has.
  return reverse_ ? Choose(t, step, first) : step;
}

Value Steps::Stack(std::span<const Value> steps) {
  std::vector<Value> parts;
  for (const Value v : steps) {
    const Shape shape = b_.shape(v);
    parts.push_back(Reshape(b_, v, {shape[0], 1, shape[1]}));
  }
  return Join(b_, parts, 1);
}

Value Product(Builder& b, Value x, Value y, bool transpose_x, bool transpose_y) {
  return b(kMatmul, {x, y}, {transpose_x, transpose_y});
}

namespace {

Value Flat(Builder& b, Value x) {
  const Shape shape = b.shape(x);
  return Reshape(b, x, {shape[0] * shape[1], shape[2]});
}

}  // namespace

Value SequenceProduct(Builder& b, Value x, Value y) {
  return Product(b, Flat(b, x), Flat(b, y), true);
}

Value SequenceSum(Builder& b, Value x) { return b(kSum, {x}, {std::vector<int64_t>{0, 1}, false}); }

Value Columns(Builder& b, Value x, Dim from, Dim size) {
  return b(kSliceAt, {x}, {int64_t{-1}, Shape{from}, Shape{size}});
}

std::vector<Value> SplitGates(Builder& b, Value x, int64_t count) {
  const Shape shape = b.shape(x);
  const Dim size = shape[shape.rank() - 1].value() / count;
  std::vector<Value> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(Columns(b, x, size * i, size));
  return out;
}

Value Join(Builder& b, std::span<const Value> parts, int64_t axis) {
  return b(kConcat, parts, {axis});
}

Value SigmoidSlope(Builder& b, Value g, Value a) { return b(kSigmoidGrad, {g, a}); }
Value TanhSlope(Builder& b, Value g, Value a) { return b(kTanhGrad, {g, a}); }

}  // namespace ostria::ops
