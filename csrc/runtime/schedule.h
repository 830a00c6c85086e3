// SPDX-License-Identifier: Apache-2.0
// The order of a plan's steps. What derives from state alone comes first: an executable runs those
// steps when somebody wrote a Variable, and starts behind them otherwise.
#pragma once

#include <vector>

#include "runtime/lower.h"

namespace ostria {

struct ScheduledStep {
  NodeId node;
  bool pack = false;  // the operand that the node's kernel wants packed, not the node itself
};

struct Schedule {
  std::vector<ScheduledStep> steps;
  int32_t num_kept = 0;  // the first ones
  /// By node: whose packed operand its kernel reads. Its own, or that of a node that differs in
  /// nothing but other operands.
  std::vector<NodeId> packed_by;
};

Schedule MakeSchedule(const Graph& graph, const std::vector<Choice>& choices);

}  // namespace ostria
