// SPDX-License-Identifier: Apache-2.0
// Questions that several passes ask about values.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ir/graph.h"
#include "passes/pass.h"

namespace ostria {

// Positions of attributes of ops that the passes make or take apart.
struct FullAttr {
  enum : int { kShape, kDType, kValue };
};
struct ReduceAttr {
  enum : int { kAxis, kKeepdims };
};

/// Whether anybody reads `v`; passes skip what dce is about to remove.
inline bool IsUsed(const Graph& graph, Value v) {
  return graph.num_uses(v) > 0 || graph.is_output(v);
}

/// The node that defines `v` when it is of this op, else invalid.
NodeId ProducedBy(const Graph& graph, Value v, const OpDef& op);

/// The number that every element of `v` is: `full`, and `constant` with one element. Nothing for
/// integers that a double does not hold.
std::optional<double> UniformValue(const Graph& graph, Value v);
inline bool IsUniform(const Graph& graph, Value v, double number) {
  return UniformValue(graph, v) == number;
}

/// A rank-0 value that UniformValue sees, in front of `before`.
Value UniformScalar(Graph& graph, DType dtype, double number, LocationId location, NodeId before);

/// What a value is made of. One of kConstant and kState is the same in every run until somebody
/// else writes a Variable.
enum class Origin : uint8_t {
  kConstant,
  kState,  // state that this graph does not write, and constants
  kRun,    // an input, state that the graph writes, or an effect
};

/// The origins of a graph's values, node by node, so that it may be rewritten meanwhile.
class Origins {
 public:
  explicit Origins(const Graph& graph);
  /// `n` comes after the nodes that it reads.
  void Add(NodeId n);
  Origin Of(NodeId n) const;  // of its results; reads nothing but its operands' origins
  Origin operator[](Value v) const {
    const auto i = static_cast<size_t>(v.id);
    return i < known_.size() ? known_[i] : Origin::kRun;
  }

 private:
  void Set(Value v, Origin origin);
  const Graph& graph_;
  std::vector<Origin> known_;
};

/// Attribute `axis` of a reduction over a tensor of this rank: ascending, not negative; empty means
/// all.
std::vector<int> ReducedAxes(const Graph& graph, NodeId n);

/// Part of one axis of `x`.
struct AxisSlice {
  Value x;
  int axis = 0;
  int64_t start = 0, size = 0;
};
/// What `v` is when `slice_at` cuts it out of something.
std::optional<AxisSlice> SliceOf(const Graph& graph, Value v);

/// The sizes of a value of a static graph.
std::vector<int64_t> SizesOf(const Graph& graph, Value v);

/// conv1d, conv2d or conv3d.
bool IsConvolution(const OpDef& op);

/// A reduction that loops make.
bool IsFold(const Graph& graph, NodeId n);

/// One input, one output, the same elements of the same dtype in the same order.
bool IsView(const Graph& graph, NodeId n);

/// A slice of the first elements along every axis that leaves little out.
bool IsNearlyAll(const Graph& graph, NodeId n);

/// Whether the result is where the operand is: a view, or the first rows of what the graph
/// computes, if they are nearly all of it, so that few bytes live on unread.
bool SharesMemory(const Graph& graph, NodeId n);

/// The type of `n`'s only result if operand `i` were `v`; nothing when infer refuses.
std::optional<ValueType> TypeWithOperand(const Graph& graph, NodeId n, int i, Value v);

/// The only node that reads `v`, once, which is no output; or nothing.
NodeId OnlyUser(const Graph& graph, Value v);

/// Whether the device of `context` takes such a node as one.
bool HasKernel(const PassContext& context, const Graph& graph, const OpDef& op,
               std::span<const Attr> attrs, std::span<const Value> operands);

}  // namespace ostria
