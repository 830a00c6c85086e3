// SPDX-License-Identifier: Apache-2.0
// Groups of nodes, once they are chosen, become `fused` nodes.
#pragma once

#include <span>
#include <vector>

#include "passes/loop_body.h"

namespace ostria {

/// What node `n` does by itself, as a body; its outputs are the results that anybody reads.
LoopBody BodyOf(const Graph& graph, NodeId n);

/// Replaces every group by one node in the place of its last member, with operands before users.
/// Members are in list order; no value may leave a group and come back. A group of one op that has
/// a kernel of its own stays as it is. Returns whether anything changed.
bool FuseGroups(Graph& graph, std::span<const std::vector<NodeId>> groups);

}  // namespace ostria
