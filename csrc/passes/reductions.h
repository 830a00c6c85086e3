// SPDX-License-Identifier: Apache-2.0
// What the passes over reductions share.
#pragma once

#include <vector>

#include "ir/graph.h"

namespace ostria {

/// Where each node stands in the list, by id.
std::vector<int> PositionsOf(const Graph& graph);

/// Moves a reduction, or a node in front of one, up to behind the last of its operands and of the
/// ordered nodes before it, whose order among each other is that of all ranks. Returns whether it
/// moved.
bool MoveReductionUp(Graph& graph, NodeId n);

}  // namespace ostria
