// SPDX-License-Identifier: Apache-2.0
// hoist_invariant: what a scan's body computes of captures alone is computed once, before the loop.
//   scan(c, h; h' = h + exp(c))  =>  e = exp(c); scan(e, h; h' = h + e)
// Repeats (broadcast_to) stay inside: they would only take memory.
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/pass.h"

namespace ostria {
namespace {

bool MayLeave(const Graph& body, NodeId n) {
  const Traits& traits = body.op(n).traits;
  return traits.pure && !traits.ordered && !traits.checks_data && !body.is(n, ops::kBroadcastTo);
}

// Whether a node reads captures, or what is computed of them, and nothing else.
bool AnyInvariant(const Graph& body, int captures) {
  std::vector<bool> known(static_cast<size_t>(body.value_capacity()));
  for (int i = 0; i < captures; ++i) known[body.inputs()[i].id] = true;
  for (NodeId n = body.first(); n.valid(); n = body.next(n)) {
    bool invariant = MayLeave(body, n);
    for (const Value v : body.operands(n)) invariant = invariant && known[v.id];
    if (invariant && body.num_operands(n) > 0) return true;
    for (int i = 0; i < body.num_results(n); ++i) known[body.result(n, i).id] = invariant;
  }
  return false;
}

bool Hoist(Graph& g, NodeId n) {
  const ops::ScanParts p = ops::PartsOf(g, n);
  if (p.length < 2) return false;  // a loop that runs must not do more than it did
  const Body old = g.attr<Body>(n, ops::ScanAttr::kBody);
  if (!AnyInvariant(*old, p.captures)) return false;
  auto body = std::make_shared<Graph>(old->Clone());
  std::vector<Value> outside(static_cast<size_t>(body->value_capacity()));
  for (int i = 0; i < p.captures; ++i) outside[body->inputs()[i].id] = g.operand(n, i);
  std::vector<Value> moved;  // in the body, to become captures
  for (NodeId m = body->first(); m.valid(); m = body->next(m)) {
    bool invariant = MayLeave(*body, m);
    std::vector<Value> operands;
    for (const Value v : body->operands(m)) {
      invariant &= outside[v.id].valid();
      operands.push_back(outside[v.id]);
    }
    if (!invariant) continue;
    const std::span<const Attr> attrs = body->attrs(m);
    const NodeId copy =
        g.AddNode(body->op(m), operands, {attrs.begin(), attrs.end()}, body->location(m), n);
    for (int i = 0; i < body->num_results(m); ++i) {
      outside[body->result(m, i).id] = g.result(copy, i);
      if (!operands.empty()) moved.push_back(body->result(m, i));
    }
  }
  auto closed = std::make_shared<Graph>();
  std::vector<Value> arguments, operands = g.operands(n), hoisted;
  const auto input = [&](size_t i) {
    const Value v = body->inputs()[i];
    arguments.push_back(
        closed->AddInput(body->input_name(static_cast<int>(i)), body->type(v), body->location(v)));
  };
  const auto captures = static_cast<size_t>(p.captures);
  for (size_t i = 0; i < captures; ++i) input(i);
  for (const Value v : moved) {
    hoisted.push_back(closed->AddInput(StrCat("hoisted_", hoisted.size()), body->type(v), 0));
    operands.insert(operands.begin() + p.captures + static_cast<int>(hoisted.size()) - 1,
                    outside[v.id]);
  }
  for (size_t i = captures; i < body->inputs().size(); ++i) input(i);
  // As outputs the moved values are found again; whoever reads them then reads the input.
  Graph& b = *body;
  for (const Value v : moved) b.AddOutput("hoisted", v);
  std::vector<Value> outputs = Inline(*closed, b, arguments, {}, LocationId{0});
  const size_t own = outputs.size() - moved.size();
  for (size_t i = 0; i < own; ++i) {
    closed->AddOutput(b.output_name(static_cast<int>(i)), outputs[i]);
  }
  for (size_t i = 0; i < moved.size(); ++i) closed->ReplaceAllUses(outputs[own + i], hoisted[i]);
  ops::DropDead(*closed);
  std::vector<Attr> attrs(g.attrs(n).begin(), g.attrs(n).end());
  attrs[ops::ScanAttr::kBody] = Body(std::move(closed));
  attrs[ops::ScanAttr::kCaptures] = p.captures + static_cast<int64_t>(moved.size());
  const NodeId m = g.AddNode(ops::kScan, operands, std::move(attrs), g.location(n), n);
  for (int i = 0; i < g.num_results(n); ++i) g.ReplaceAllUses(g.result(n, i), g.result(m, i));
  g.Erase(n);
  return true;
}

}  // namespace

bool HoistInvariant(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    if (graph.is(n, ops::kScan)) changed |= Hoist(graph, n);
    n = next;
  }
  return changed;
}

}  // namespace ostria
