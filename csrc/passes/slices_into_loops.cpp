// SPDX-License-Identifier: Apache-2.0
// slices_into_loops: a loop reads memory at any strides, so where it reads the first elements of
// wider rows, as products leave them that were padded, it reads those rows: no copy of them is
// made. Runs when groups are chosen; only slices that leave little out, since a loop that reads
// them has no vectors.
//
//   slice(x [8, 264]) [8, 257] -> fused  =>  x -> fused {slice, ...}
#include "ir/builder.h"
#include "ops/ops.h"
#include "passes/fused_groups.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

bool IsLoop(const Graph& g, NodeId n) {
  const Traits& traits = g.op(n).traits;
  return g.is(n, ops::kFused) || traits.elementwise || traits.loop || IsFold(g, n);
}

bool Rewrite(Graph& g, const PassContext& context, NodeId n) {
  bool reads = false;
  for (const Value v : g.operands(n)) {
    reads |=
        g.producer(v).valid() && IsNearlyAll(g, g.producer(v)) && !SharesMemory(g, g.producer(v));
  }
  if (!reads || !IsLoop(g, n)) return false;
  LoopBody single;
  if (!g.is(n, ops::kFused)) single = BodyOf(g, n);
  const bool fused = single.graph.outputs().empty();
  const Graph& body = fused ? *g.attr<Body>(n, 0) : single.graph;
  const std::vector<Value> read = fused ? g.operands(n) : single.inputs;

  Graph made;
  std::vector<Value> outer, inner;
  for (const Value v : read) {
    const NodeId slice = g.producer(v);
    const bool wide = slice.valid() && IsNearlyAll(g, slice) && !SharesMemory(g, slice);
    const Value from = wide ? g.operand(slice, 0) : v;
    const Value input = made.AddInput(StrCat("x", outer.size()), g.type(from), g.location(n));
    outer.push_back(from);
    inner.push_back(input);
    if (!wide) continue;
    const std::vector<Attr> attrs(g.attrs(slice).begin(), g.attrs(slice).end());
    inner.back() =
        made.result(made.AddNode(ops::kSlice, std::vector<Value>{input}, attrs, g.location(slice)));
  }
  const std::vector<Value> results = Inline(made, body, inner, {}, g.location(n));
  for (size_t i = 0; i < results.size(); ++i) {
    made.AddOutput(body.output_name(static_cast<int>(i)), results[i]);
  }
  const std::vector<Attr> attrs = {Body(std::make_shared<Graph>(std::move(made)))};
  if (!HasKernel(context, g, ops::kFused, attrs, outer)) return false;
  const NodeId loop = g.AddNode(ops::kFused, outer, attrs, g.location(n), n);
  int k = 0;
  for (int i = 0; i < g.num_results(n); ++i) {
    if (!fused && !IsUsed(g, g.result(n, i))) continue;
    g.ReplaceAllUses(g.result(n, i), g.result(loop, k++));
  }
  g.Erase(n);
  return true;
}

}  // namespace

bool SlicesIntoLoops(Graph& graph, const PassContext& context) {
  bool changed = false;
  for (NodeId next, n = graph.first(); n.valid(); n = next) {
    next = graph.next(n);
    changed |= Rewrite(graph, context, n);
  }
  return changed;
}

}  // namespace ostria
