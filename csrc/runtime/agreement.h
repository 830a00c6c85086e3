// SPDX-License-Identifier: Apache-2.0
// Whether the copies of variables stay equal, asked of the graph that replicas are about to share:
// what a replica computes from inputs of its own is its own, until a collective makes it common.
#pragma once

#include <memory>
#include <span>

#include "ir/graph.h"
#include "runtime/state_store.h"

namespace ostria {

/// Throws Error(kInvalidArgument), with the user's line, where a variable whose copies are to be
/// equal is assigned a value that replicas did not agree on. `own`: inputs of the graph that differ
/// between replicas; sizes that are symbols differ too. `variables`, and the parts of each that
/// replicas hold, in the order of graph.state(); no `parts`: each holds all.
void RequireAgreement(const Graph& graph, std::span<const std::shared_ptr<Variable>> variables,
                      std::span<const int> own, std::span<const Parts> parts = {});

}  // namespace ostria
