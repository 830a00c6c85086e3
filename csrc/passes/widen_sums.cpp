// SPDX-License-Identifier: Apache-2.0
// widen_sums: a loop sums 16-bit numbers in float32 and rounds the sum. Where only a cast to
// float32 reads it, as an update does the gradient of a bias, the sum stays as it is: one launch
// less.
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

// x -> sum -> cast(float32)  =>  x -> cast(float32) -> sum
Value Widened(Graph& g, NodeId cast) {
  std::vector<NodeId> views;  // last first
  Value v = g.operand(cast, 0);
  NodeId n = g.producer(v);
  for (; n.valid() && IsView(g, n) && OnlyUser(g, v).valid(); n = g.producer(v)) {
    views.push_back(n);
    v = g.operand(n, 0);
  }
  if (!n.valid() || !OnlyUser(g, v).valid() || (!g.is(n, ops::kSum) && !g.is(n, ops::kMean)))
    return {};
  const auto like = [&](NodeId node, Value x) {
    const std::vector<Attr> attrs(g.attrs(node).begin(), g.attrs(node).end());
    return g.result(g.AddNode(g.op(node), std::vector<Value>{x}, attrs, g.location(node), cast));
  };
  Value y = like(n, like(cast, g.operand(n, 0)));
  for (size_t i = views.size(); i-- > 0;) y = like(views[i], y);
  return y;
}

}  // namespace

bool WidenSums(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (!graph.is(n, ops::kCast) || !IsUsed(graph, graph.result(n))) continue;
    const DType from = graph.dtype(graph.operand(n, 0));
    if (!IsFloat(from) || SizeOf(from) != 2 || graph.dtype(graph.result(n)) != DType::kFloat32) {
      continue;
    }
    const Value y = Widened(graph, n);
    if (!y.valid()) continue;
    graph.ReplaceAllUses(graph.result(n), y);
    changed = true;
  }
  return changed;
}

}  // namespace ostria
