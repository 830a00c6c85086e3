// SPDX-License-Identifier: Apache-2.0
// relu_grad_before_pool: a max pool hands gradients to its largest elements alone, so the relu in
// front of it need not look at the others: what it asks of them, it can ask of the pool's results.
#include "ops/common/pool.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

// p, i = max_pool2d(y);  relu_grad(max_pool_grad(g, i), y)
//   =>  max_pool_grad(relu_grad(g, p), i): a quarter of the elements for windows of 2 x 2
bool Rewrite(Graph& g, NodeId n) {
  const Value spread = g.operand(n, 0), y = g.operand(n, 1);
  const NodeId back = ProducedBy(g, spread, ops::kMaxPoolGrad);
  if (!back.valid() || g.num_uses(spread) != 1 || g.is_output(spread)) return false;
  const Value index = g.operand(back, 1);
  const NodeId pool = ProducedBy(g, index, ops::MaxPoolOp(g.shape(y).rank() - 2));
  if (!pool.valid() || !(g.operand(pool, 0) == y) || !(g.result(pool, 1) == index)) return false;
  const Value masked[] = {g.operand(back, 0), g.result(pool, 0)};
  if (g.type(masked[0]) != g.type(masked[1])) return false;
  const NodeId mask = g.AddNode(ops::kReluGrad, masked, {}, g.location(n), n);
  const Value parts[] = {g.result(mask), index};
  const std::span<const Attr> attrs = g.attrs(back);
  const NodeId made =
      g.AddNode(ops::kMaxPoolGrad, parts, {attrs.begin(), attrs.end()}, g.location(back), n);
  g.ReplaceAllUses(g.result(n), g.result(made));
  return true;
}

}  // namespace

bool ReluGradBeforePool(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (!graph.is(n, ops::kReluGrad) || !IsUsed(graph, graph.result(n))) continue;
    changed |= Rewrite(graph, n);
  }
  return changed;
}

}  // namespace ostria
