// SPDX-License-Identifier: Apache-2.0
// inline_calls: a call is for differentiation; to the planner its body's nodes are nodes like
// others. inline_apart does the same after the last merging of equal nodes, with the calls that
// compute again what would have to be kept else.
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/pass.h"

namespace ostria {

namespace {

bool InlineWhere(Graph& graph, bool apart) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    if (!graph.is(n, ops::kCall) || graph.attr<bool>(n, ops::CallAttr::kApart) != apart) {
      n = graph.next(n);
      continue;
    }
    const Body body = graph.attr<Body>(n, ops::CallAttr::kBody);
    const NodeId previous = graph.previous(n);
    const std::vector<Value> outputs =
        Inline(graph, *body, graph.operands(n), n, graph.location(n));
    for (int i = 0; i < graph.num_results(n); ++i) {
      graph.ReplaceAllUses(graph.result(n, i), outputs[i]);
    }
    graph.Erase(n);
    n = previous.valid() ? graph.next(previous) : graph.first();  // the body's own calls come next
    changed = true;
  }
  return changed;
}

}  // namespace

bool InlineCalls(Graph& graph, const PassContext&) { return InlineWhere(graph, false); }

bool InlineApart(Graph& graph, const PassContext&) { return InlineWhere(graph, true); }

}  // namespace ostria
