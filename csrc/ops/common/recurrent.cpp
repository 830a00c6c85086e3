// SPDX-License-Identifier: Apache-2.0
#include "ops/common/recurrent.h"

#include <array>

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

bool IsLstmLayer(const InferContext& c) {
  const auto& cell = c.attr<std::string>(LayerAttr::kCell);
  if (cell != "lstm" && cell != "gru") {
    c.Fail("cell '", cell, "' is not known; accepted are 'lstm' and 'gru'");
  }
  return cell == "lstm";
}

Dim SavedElements(bool lstm, Dim batch, Dim time, Dim units) {
  constexpr int64_t kNotes = 1024;
  return batch * time * units * (lstm ? 5 : 6) + kNotes;
}

Value Steps::Step::Choose(Value x, Value y) const {
  return active.valid() ? b(kWhere, {active, x, y}) : x;
}

Value Steps::Step::OrZero(Value x) const { return active.valid() ? Choose(x, ZerosLike(b, x)) : x; }

namespace {

// [batch, time, n] as [time, batch, n], or back.
Value SwapTime(Builder& b, Value x) { return b(kTranspose, {x}, {std::vector<int64_t>{1, 0, 2}}); }

}  // namespace

Steps::Steps(Builder& b, Value x, bool reverse, Value lengths)
    : b_(b), count_(b.shape(x)[1].value()), reverse_(reverse), lengths_(lengths) {}

std::vector<Value> Steps::Run(std::vector<Value> captures, std::span<const Value> states,
                              std::span<const Value> sequences, bool back, const StepFn& fn) {
  const bool masked = lengths_.valid();
  if (masked) captures.push_back(Reshape(b_, lengths_, {b_.shape(lengths_)[0], 1}));
  std::vector<Value> xs;
  for (const Value v : sequences) xs.push_back(SwapTime(b_, v));
  std::vector<Value> out = BuildScan(b_, captures, states, xs, count_, reverse_ != back,
                                     [&](Builder& body, const ScanArguments& given) {
                                       Step step{body, given.captures, given.carries, given.xs, {}};
                                       if (masked) {
                                         const Value lengths = step.captures.back();
                                         step.captures.pop_back();
                                         const Value place =
                                             Cast(body, given.step, body.dtype(lengths));
                                         step.active = body(kGreater, {lengths, place});
                                       }
                                       return fn(step);
                                     });
  for (size_t i = states.size(); i < out.size(); ++i) out[i] = SwapTime(b_, out[i]);
  return out;
}

Value Steps::Before(Value sequence, Value first) {
  const Shape shape = b_.shape(sequence);
  const Value start = Reshape(b_, first, {shape[0], 1, shape[2]});
  if (count_ == 1) return start;
  const Value others =
      b_(kSliceAt, {sequence}, {int64_t{1}, Shape{int64_t{reverse_}}, Shape{count_ - 1}});
  if (!reverse_) return Join(b_, std::array{start, others}, 1);
  const Value shifted = Join(b_, std::array{others, start}, 1);
  if (!lengths_.valid()) return shifted;
  // A row's first step is the last one that it has.
  const DType dtype = b_.dtype(lengths_);
  const Value next = Plus(b_, b_(kIota, {}, {Shape{count_}, dtype}), 1);
  const Value more =
      b_(kGreater, {Reshape(b_, lengths_, {shape[0], 1, 1}), Reshape(b_, next, {count_, 1})});
  return b_(kWhere, {more, shifted, start});
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
