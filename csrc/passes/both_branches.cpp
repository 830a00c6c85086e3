// SPDX-License-Identifier: Apache-2.0
// both_branches: a device whose work is in a stream before its data are known computes both bodies
// of a cond and keeps the results of one.
//
//   cond(pred, xs; f, g)  =>  where(pred, f(xs), g(xs))
//
// Not where a branch may refuse its data: it may be the one that is not to run.
#include "ir/builder.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/pass.h"

namespace ostria {

bool BothBranches(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    if (graph.is(n, ops::kCond)) {
      const Body yes = graph.attr<Body>(n, ops::CondAttr::kThen);
      const Body no = graph.attr<Body>(n, ops::CondAttr::kElse);
      if (!ops::ChecksData(*yes) && !ops::ChecksData(*no)) {
        std::vector<Value> operands = graph.operands(n);
        const Value pred = operands.front();
        operands.erase(operands.begin());
        const std::vector<Value> a = Inline(graph, *yes, operands, n, graph.location(n));
        const std::vector<Value> b = Inline(graph, *no, operands, n, graph.location(n));
        Builder build(graph, graph.location(n), n);
        for (int i = 0; i < graph.num_results(n); ++i) {
          const Value chosen = build(ops::kWhere, {pred, a[i], b[i]});
          graph.ReplaceAllUses(graph.result(n, i), chosen);
        }
        graph.Erase(n);
        changed = true;
      }
    }
    n = next;
  }
  return changed;
}

}  // namespace ostria
