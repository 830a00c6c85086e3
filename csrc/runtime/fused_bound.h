// SPDX-License-Identifier: Apache-2.0
// What a perfect fuser would move: the measure for what a plan moves. It is told the same ops in
// the same order of dependence, and may run every loop where it likes, as often as it likes,
// however much memory that keeps alive. It moves
//
//   of libraries (products, …)    every operand, and every result that somebody reads, once; but
//                                 one group of loops runs on what a library has in registers: it
//                                 reads nothing, and where nobody else does, nothing is written;
//                                 not if it needs what the library folds over rows (statistics)
//   of loops between libraries    nothing among themselves; what they read, once for all of them
//   of what loops leave behind    a value that a library or the caller wants, once; any other at
//                                 the least of writing it and of making it again from operands
//
// Folds over leading axes end a group, since their results are known when all rows have been seen.
// Folds and what is made of them (normalisations) are not run twice. Numbers take nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/graph.h"

namespace ostria {

/// Bytes for one run of the graph, bodies of control ops not counted. `kept`: by node, what does
/// not run every time.
int64_t FusedBound(const Graph& graph, std::vector<bool> kept);

}  // namespace ostria
