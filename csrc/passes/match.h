// SPDX-License-Identifier: Apache-2.0
// Questions that several passes ask about values.
#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"

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

/// Attribute `axis` of a reduction over a tensor of this rank: ascending, not negative; empty means
/// all.
std::vector<int> ReducedAxes(const Graph& graph, NodeId n);

/// One input, one output, the same elements of the same dtype in the same order.
bool IsView(const Graph& graph, NodeId n);

/// The type of `n`'s only result if operand `i` were `v`; nothing when infer refuses.
std::optional<ValueType> TypeWithOperand(const Graph& graph, NodeId n, int i, Value v);

}  // namespace ostria
