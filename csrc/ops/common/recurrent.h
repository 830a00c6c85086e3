// SPDX-License-Identifier: Apache-2.0
// What simple_rnn, gru and lstm share: sequences are [batch, time, features], states [batch,
// units], gates side by side in Keras's order. A row's steps from its length on leave its state
// alone; everything that belongs to them is zero.
#pragma once

#include <span>
#include <vector>

#include "ir/builder.h"
#include "ops/common/infer.h"

namespace ostria::ops {

/// Checks x, kernel, recurrent_kernel (inputs `first`, `first` + 1, `first` + 2) with `gates` gates
/// side by side, and gives batch, time, units.
struct RecurrentSizes {
  Dim batch, time, units;
};
RecurrentSizes InferRecurrent(const InferContext& c, int first, int64_t gates);
/// Input `i` must have `shape` and input 0's dtype.
void RequireShape(const InferContext& c, int i, const Shape& shape);
/// Input `i`, if there is one, must be int32 or int64 [batch].
void RequireLengths(const InferContext& c, int i, Dim batch);

/// The unrolled loop of a decomposition.
class Steps {
 public:
  /// `lengths` may be invalid: every row has all steps.
  Steps(Builder& b, Value x, bool reverse, Value lengths);

  int64_t count() const { return count_; }
  /// The place in the sequence of the i-th step; -1 before the first.
  int64_t At(int64_t i) const { return i < 0 ? -1 : reverse_ ? count_ - 1 - i : i; }
  /// sequence[:, t]
  Value Take(Value sequence, int64_t t);
  /// `a` in rows that have step t, `b` in the others.
  Value Choose(int64_t t, Value a, Value b);
  Value OrZero(int64_t t, Value a);
  /// What the i-th step began with: the step before it in `sequence`, or `first`.
  Value Before(int64_t i, Value sequence, Value first);
  /// [batch, time, n] of one [batch, n] for each place.
  Value Stack(std::span<const Value> steps);

 private:
  Builder& b_;
  int64_t count_;
  bool reverse_;
  Value lengths_;
  std::vector<Value> active_;
};

/// a b, with either transposed.
Value Product(Builder& b, Value x, Value y, bool transpose_x = false, bool transpose_y = false);
/// x^T y of two sequences over batch and time together.
Value SequenceProduct(Builder& b, Value x, Value y);
/// The sum over batch and time.
Value SequenceSum(Builder& b, Value x);
/// Columns [from, to) of the last axis.
Value Columns(Builder& b, Value x, Dim from, Dim size);
/// `count` equal parts of the last axis.
std::vector<Value> SplitGates(Builder& b, Value x, int64_t count);
Value Join(Builder& b, std::span<const Value> parts, int64_t axis);
/// a (1 - a) g and (1 - a^2) g: the slopes of sigmoid and tanh at their results.
Value SigmoidSlope(Builder& b, Value g, Value a);
Value TanhSlope(Builder& b, Value g, Value a);

}  // namespace ostria::ops
