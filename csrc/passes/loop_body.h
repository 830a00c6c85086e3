// SPDX-License-Identifier: Apache-2.0
// A piece of a graph on its way to become the body of a `fused` node, and how bodies lose inputs.
#pragma once

#include <span>
#include <vector>

#include "ir/graph.h"

namespace ostria {

struct LoopBody {
  Graph graph;
  std::vector<Value> inputs;  // of the outer graph, one for each input of `graph`

  /// `v` of the outer graph as a new input; numbers move into the body.
  Value Import(const Graph& outer, Value v);
  /// What node `n` of the outer graph does, on values of the body; a `fused` node's own body.
  std::vector<Value> Copy(const Graph& outer, NodeId n, std::span<const Value> operands);
  void AddOutput(Value v);
};

/// A copy of `body` with those of its inputs alone; no node may read another.
Graph KeepInputs(const Graph& body, const std::vector<bool>& keep);

}  // namespace ostria
