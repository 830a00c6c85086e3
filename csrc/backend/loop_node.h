// SPDX-License-Identifier: Apache-2.0
// What the loops of every backend need of a node.
#pragma once

#include <string>

#include "backend/kernel.h"
#include "ir/graph.h"

namespace ostria {

/// A graph of this node alone, over dense operands.
Graph BodyOf(const NodeDesc& node);

/// "add tanh multiply", at most eight of them: what explain() shows of a fused group.
std::string OpNames(const Graph& body);

}  // namespace ostria
