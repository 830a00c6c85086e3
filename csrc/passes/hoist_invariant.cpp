// SPDX-License-Identifier: Apache-2.0
// hoist_invariant: what a loop's body computes of captures alone is computed once, before the loop.
//   scan(c, h; h' = h + exp(c))  =>  e = exp(c); scan(e, h; h' = h + e)
// Repeats (broadcast_to) stay inside: they would only take memory. How often a while_loop runs is
// not known: where its body never does, this computes at most what one step would have.
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/loops.h"
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

// What leaves a body: the values in it, and what they are outside.
struct Moved {
  std::vector<Value> inside, outside;
};

// Copies the invariant nodes of a body in front of the loop.
Moved CopyInvariant(Graph& g, NodeId n, const Graph& body, int captures) {
  Moved moved;
  std::vector<Value> outside(static_cast<size_t>(body.value_capacity()));
  for (int i = 0; i < captures; ++i) outside[body.inputs()[i].id] = g.operand(n, i);
  for (NodeId m = body.first(); m.valid(); m = body.next(m)) {
    bool invariant = MayLeave(body, m);
    std::vector<Value> operands;
    for (const Value v : body.operands(m)) {
      invariant &= outside[v.id].valid();
      operands.push_back(outside[v.id]);
    }
    if (!invariant) continue;
    const std::span<const Attr> attrs = body.attrs(m);
    const NodeId copy =
        g.AddNode(body.op(m), operands, {attrs.begin(), attrs.end()}, body.location(m), n);
    for (int i = 0; i < body.num_results(m); ++i) {
      outside[body.result(m, i).id] = g.result(copy, i);
      if (operands.empty()) continue;
      moved.inside.push_back(body.result(m, i));
      moved.outside.push_back(g.result(copy, i));
    }
  }
  return moved;
}

// A body with `types` as further captures, of which those from `first` are the values `moved`.
Body WithCaptures(const Graph& old, size_t captures, const std::vector<ValueType>& types,
                  size_t first, const std::vector<Value>& moved) {
  Graph body = old.Clone();
  auto closed = std::make_shared<Graph>();
  std::vector<Value> arguments, hoisted;
  const auto input = [&](size_t i) {
    const Value v = body.inputs()[i];
    arguments.push_back(
        closed->AddInput(body.input_name(static_cast<int>(i)), body.type(v), body.location(v)));
  };
  for (size_t i = 0; i < captures; ++i) input(i);
  for (const ValueType& type : types) {
    hoisted.push_back(closed->AddInput(StrCat("hoisted_", hoisted.size()), type, 0));
  }
  for (size_t i = captures; i < body.inputs().size(); ++i) input(i);
  // As outputs the moved values are found again; whoever reads them then reads the input.
  for (const Value v : moved) body.AddOutput("hoisted", v);
  const std::vector<Value> outputs = Inline(*closed, body, arguments, {}, LocationId{0});
  const size_t own = outputs.size() - moved.size();
  for (size_t i = 0; i < own; ++i) {
    closed->AddOutput(body.output_name(static_cast<int>(i)), outputs[i]);
  }
  for (size_t i = 0; i < moved.size(); ++i) {
    closed->ReplaceAllUses(outputs[own + i], hoisted[first + i]);
  }
  ops::DropDead(*closed);
  return closed;
}

bool Hoist(Graph& g, NodeId n, const Loop& loop) {
  if (!loop.repeats) return false;
  bool any = false;
  for (size_t k = 0; k < loop.body_attrs.size(); ++k) {
    any |= AnyInvariant(*loop.body(g, n, k), loop.captures);
  }
  if (!any) return false;
  std::vector<Moved> moved;
  std::vector<ValueType> types;
  std::vector<Value> operands = g.operands(n);
  for (size_t k = 0; k < loop.body_attrs.size(); ++k) {
    moved.push_back(CopyInvariant(g, n, *loop.body(g, n, k), loop.captures));
    for (const Value v : moved.back().outside) {
      operands.insert(operands.begin() + loop.captures + static_cast<int>(types.size()), v);
      types.push_back(g.type(v));
    }
  }
  std::vector<Body> bodies;
  size_t first = 0;
  for (size_t k = 0; k < moved.size(); ++k) {
    bodies.push_back(WithCaptures(*loop.body(g, n, k), static_cast<size_t>(loop.captures), types,
                                  first, moved[k].inside));
    first += moved[k].inside.size();
  }
  Loop larger = loop;
  larger.captures += static_cast<int>(types.size());
  const NodeId m = AddLoopLike(g, n, larger, operands, bodies);
  for (int i = 0; i < g.num_results(n); ++i) g.ReplaceAllUses(g.result(n, i), g.result(m, i));
  g.Erase(n);
  return true;
}

}  // namespace

bool HoistInvariant(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    if (const auto loop = LoopOf(graph, n)) changed |= Hoist(graph, n, *loop);
    n = next;
  }
  return changed;
}

}  // namespace ostria
