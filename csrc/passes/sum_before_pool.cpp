// SPDX-License-Identifier: Apache-2.0
// sum_before_pool: a max pool hands each gradient on to one place of its image, so over whole
// images they add up to what they did before: a quarter of the elements for windows of 2 x 2. So it
// is with the gradient of a bias in front of the pool.
#include <algorithm>
#include <vector>

#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

bool HoldsWholeImages(const std::vector<int>& axes, int rank) {
  for (int axis = 1; axis < rank - 1; ++axis) {
    if (std::find(axes.begin(), axes.end(), axis) == axes.end()) return false;
  }
  return true;
}

// sum(max_pool_grad(g, i), axes)  =>  sum(g, axes)
bool Rewrite(Graph& g, NodeId n) {
  const NodeId back = ProducedBy(g, g.operand(n, 0), ops::kMaxPoolGrad);
  if (!back.valid()) return false;
  if (!HoldsWholeImages(ReducedAxes(g, n), g.shape(g.operand(n, 0)).rank())) return false;
  const Value given[] = {g.operand(back, 0)};
  const std::span<const Attr> attrs = g.attrs(n);
  const NodeId made = g.AddNode(ops::kSum, given, {attrs.begin(), attrs.end()}, g.location(n), n);
  g.ReplaceAllUses(g.result(n), g.result(made));
  return true;
}

}  // namespace

bool SumBeforePool(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (!graph.is(n, ops::kSum) || !IsUsed(graph, graph.result(n))) continue;
    changed |= Rewrite(graph, n);
  }
  return changed;
}

}  // namespace ostria
