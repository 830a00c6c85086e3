// SPDX-License-Identifier: Apache-2.0
// filters_first: the gradient of a convolution's kernel runs before that of its image, so that what
// is read next comes next: sums of gradients, the relu behind them and sums over the batch can be
// one loop, and the cotangent is read twice in a row.
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

// Whether `n` follows `first` within what a step has of nodes between the two gradients.
bool Follows(const Graph& g, NodeId first, NodeId n) {
  constexpr int kNear = 8;
  for (int i = 0; i < kNear && first.valid(); ++i, first = g.next(first)) {
    if (first == n) return true;
  }
  return false;
}

// dx = conv_grad_input(g, w);  dw = conv_grad_filter(x, g)
//   =>  dw = conv_grad_filter(x, g);  dx = conv_grad_input(g, w)
bool Rewrite(Graph& g, NodeId input) {
  for (const Use& use : g.uses(g.operand(input, 0))) {
    const NodeId filter = use.user;
    if (!g.is(filter, ops::kConvGradFilter) || use.operand != 1) continue;
    if (!Follows(g, g.next(input), filter)) continue;
    const NodeId maker = g.producer(g.operand(filter, 0));  // of the image
    if (maker.valid() && Follows(g, input, maker)) continue;
    g.MoveBefore(filter, input);
    return true;
  }
  return false;
}

}  // namespace

bool FiltersFirst(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (graph.is(n, ops::kConvGradInput)) changed |= Rewrite(graph, n);
  }
  return changed;
}

}  // namespace ostria
