// SPDX-License-Identifier: Apache-2.0
// Mixed precision: rewrites a forward graph before it is differentiated, so that gradients inherit
// dtypes. What an op wants is its trait `amp`; what the user cast stays as it is. Every value keeps
// the dtype that the user sees: behind a low node stands a cast back, which later passes remove.
// Bodies of control ops are rewritten when they are traced: what goes in and out keeps its dtype
// too.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ir/graph.h"

namespace ostria {

class MixedPrecision {
 public:
  /// `low` is float16 or bfloat16.
  explicit MixedPrecision(DType low) : low_(low) {}
  DType low() const { return low_; }

  /// Rewrites the nodes that were added since the last call of Run or Skip.
  void Run(Graph& graph);
  /// The nodes so far stay as they are: those that differentiation added.
  void Skip(const Graph& graph);
  bool skipped() const { return skipped_; }
  /// A variable that a body captured: it takes the dtype of what it meets, as one that is read
  /// does.
  void AddFree(Value v) { free_.insert(v.id); }
  /// An input of a body that stands for a value which the user cast.
  void AddPinned(Value v) { pinned_.insert(v.id); }
  /// Whether the user cast `v` to float32, which is to be respected.
  bool Pins(const Graph& graph, Value v) const;
  /// What stands for `v` now: a value of the same type.
  Value Now(Value v) const;

  struct Note {
    std::string op, dtype, why, line;
  };
  /// What runs low, and what the user's casts kept from it, in program order.
  const std::vector<Note>& notes() const { return notes_; }
  /// The same of a body, which has its own MixedPrecision.
  void Add(std::span<const Note> notes) { notes_.insert(notes_.end(), notes.begin(), notes.end()); }

 private:
  void Visit(Graph& graph, NodeId n);
  bool IsFree(const Graph& graph, Value v) const;
  bool Wants(const Graph& graph, NodeId n) const;
  bool ReadsLow(const Graph& graph, NodeId n) const;
  Value Low(Graph& graph, Value v, NodeId before);

  DType low_;
  NodeId last_;  // the last node that was looked at
  bool skipped_ = false;
  std::unordered_map<int32_t, Value> casts_;     // float32 value -> the same, low
  std::unordered_set<int32_t> computed_;         // float32 values that a low node computed
  std::unordered_set<int32_t> pinned_;           // results of the user's casts
  std::unordered_set<int32_t> free_;             // of a body: captured variables
  std::unordered_map<int32_t, Value> replaced_;  // values of nodes that are gone
  std::vector<Note> notes_;
};

}  // namespace ostria
