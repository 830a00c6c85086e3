// SPDX-License-Identifier: Apache-2.0
// What a perfect fuser would move: the measure for what a plan moves. It is told the same ops in
// the same order of dependence, and may run every loop where it likes, as often as it likes,
// however much memory that keeps alive. It moves
//
//   libraries (products, convolutions, …)   every operand and every result once; but a result that
//                                           only one group of loops reads goes into that group,
//                                           which a library can run on what it has in registers
//   loops between the same libraries        nothing among themselves; what they read, once for all
//   what loops leave behind                 once where a library or the caller wants it; else the
//                                           cheapest of writing it, and of making it again out of
//                                           what can be read in its place
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
