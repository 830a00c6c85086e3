// SPDX-License-Identifier: Apache-2.0
// Recomputation: a value that is needed early and late is computed a second time next to its late
// readers instead of being kept over the peak. Works on an optimised graph, before lowering.
#pragma once

#include <cstdint>

#include "ir/graph.h"

namespace ostria {

/// The largest sum of live values at any node, views and in-place results not counted twice.
int64_t EstimatePeak(const Graph& graph);

/// Duplicates nodes until EstimatePeak is at most `target` or nothing lowers it: cheap nodes first
/// (elementwise, normalisation, dropout), then segments. Returns how many nodes it added.
int RecomputeUntil(Graph* graph, int64_t target);

}  // namespace ostria
