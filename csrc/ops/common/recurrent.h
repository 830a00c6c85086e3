// SPDX-License-Identifier: Apache-2.0
// What simple_rnn, gru and lstm share: sequences are [batch, time, features], states [batch,
// units], gates side by side in Keras's order. A row's steps from its length on leave its state
// alone; everything that belongs to them is zero.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "ir/builder.h"
#include "ops/common/control.h"
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

/// The loop of a decomposition: a scan over the steps of sequences.
class Steps {
 public:
  /// What one step is given, in the graph of the scan's body: rows are [batch, n].
  struct Step {
    Builder& b;
    std::vector<Value> captures, states, rows;
    Value active;  // bool[batch, 1]: whether a row has this step; invalid where all have all steps

    /// `x` in rows that have this step, `y` in the others.
    Value Choose(Value x, Value y) const;
    Value OrZero(Value x) const;
  };
  using StepFn = std::function<ScanReturns(const Step&)>;

  /// `lengths` may be invalid: every row has all steps.
  Steps(Builder& b, Value x, bool reverse, Value lengths);

  /// The last states, then what the steps gave, as sequences; `fn` builds one step. `back`: from
  /// the step that was taken last to the first one.
  std::vector<Value> Run(std::vector<Value> captures, std::span<const Value> states,
                         std::span<const Value> sequences, bool back, const StepFn& fn);
  /// What each step began with: the step before it in `sequence`, or `first`.
  Value Before(Value sequence, Value first);

 private:
  Builder& b_;
  int64_t count_;
  bool reverse_;
  Value lengths_;
};

/// What recurrent_layer and its gradient are given besides the operands of both.
struct LayerAttr {
  enum : int { kCell };
};
/// Whether attribute `cell` says "lstm"; otherwise it is "gru". Fails for other words.
bool IsLstmLayer(const InferContext& c);
/// Elements that recurrent_layer keeps for its gradient: gates and cells, or what a library makes
/// of them, and room for its own notes.
Dim SavedElements(bool lstm, Dim batch, Dim time, Dim units);

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
