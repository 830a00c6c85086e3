// SPDX-License-Identifier: Apache-2.0
// expand_recurrent: a recurrent op that no implementation takes becomes its loop before the loop's
// body is fused, and what does not depend on the step leaves it.
//   lstm(x, w, r, b, h, c)  =>  scan(r, h, c, x w + b; gates of row + h r)
#include <algorithm>
#include <vector>

#include "ir/builder.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

constexpr const OpDef* kRecurrent[] = {&ops::kSimpleRnn,     &ops::kGru,     &ops::kLstm,
                                       &ops::kSimpleRnnGrad, &ops::kGruGrad, &ops::kLstmGrad};

}  // namespace

bool ExpandRecurrent(Graph& graph, const PassContext& context) {
  if (!context.has_kernel) return false;
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    const bool recurrent = std::any_of(std::begin(kRecurrent), std::end(kRecurrent),
                                       [&](const OpDef* op) { return graph.is(n, *op); });
    const std::vector<Value> operands = recurrent ? graph.operands(n) : std::vector<Value>{};
    if (recurrent && !HasKernel(context, graph, graph.op(n), graph.attrs(n), operands)) {
      const OpDef& op = graph.op(n);
      Builder b(graph, Derive(graph.location(n), StrCat("part of ", op.name)), n);
      const std::vector<Value> results = op.decompose(b, operands, graph.attrs(n));
      for (int i = 0; i < graph.num_results(n); ++i) {
        graph.ReplaceAllUses(graph.result(n, i), results[static_cast<size_t>(i)]);
      }
      graph.Erase(n);
      changed = true;
    }
    n = next;
  }
  return changed;
}

}  // namespace ostria
