// SPDX-License-Identifier: Apache-2.0
// What a node reads and writes of its operands and results: all of them, but of a table that is
// gathered or updated by rows only those rows, of values that rows are columns of only those, of
// what is sliced only the slice. A node that runs bodies does nothing besides.
#pragma once

#include <cstdint>

#include "ir/graph.h"

namespace ostria {

int64_t ReadBytes(const Graph& graph, NodeId n, int operand);
int64_t WrittenBytes(const Graph& graph, NodeId n, int result);

}  // namespace ostria
