// SPDX-License-Identifier: Apache-2.0
// What scan and while_loop have in common, for passes over loops: operands and inputs of every body
// are captures, carries and rows (of a scan), the bodies' last input is the step; results are
// carries and stacked rows (of a scan).
#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"

namespace ostria {

struct Loop {
  int captures = 0, carries = 0, xs = 0, ys = 0;
  std::vector<int> body_attrs;  // the last one gives the results, one before it decides
  int captures_attr = 0;
  int carries_attr = -1;  // of a scan
  bool repeats = false;   // whether a body may run more than once

  int first_x() const { return captures + carries; }
  int operands() const { return captures + carries + xs; }
  const Body& body(const Graph& graph, NodeId n, size_t k) const {
    return graph.attr<Body>(n, body_attrs[k]);
  }
};

/// The node as a loop; nothing where it is none.
std::optional<Loop> LoopOf(const Graph& graph, NodeId n);

/// The loop with other operands and bodies, before `n`; `loop` has the new counts.
NodeId AddLoopLike(Graph& graph, NodeId n, const Loop& loop, const std::vector<Value>& operands,
                   const std::vector<Body>& bodies);

}  // namespace ostria
