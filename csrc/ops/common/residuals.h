// SPDX-License-Identifier: Apache-2.0
// What the gradient of a loop keeps of every step, and what it computes again.
#pragma once

#include <vector>

#include "ir/graph.h"

namespace ostria::ops {

/// What a body's gradient may take from the forward steps, by value id.
struct ResidualQuestion {
  int forward_values = 0;      // smaller ids are those of the forward body
  std::vector<bool> needed;    // what the backward nodes and outputs read
  std::vector<bool> is_given;  // inputs that the backward loop has anyway: captures, xs, the step
};

/// By node id: whether a forward node of `vjp` is computed again where its results are needed. The
/// others' results are stacked. The cheapest choice, where a stacked byte costs as much as some
/// operations: a minimum cut.
std::vector<bool> ChooseRecomputed(const Graph& vjp, const ResidualQuestion& question);

}  // namespace ostria::ops
