// SPDX-License-Identifier: Apache-2.0
// overlap_reductions: an all_reduce begins as soon as its operands are there and ends where
// somebody reads it, so that what lies between, the rest of the backward pass, runs meanwhile. The
// order of the collectives among each other stays: it is the order of all ranks.
//
//   g2 = …; g1 = …               =>  g2 = …; s2 = all_reduce_start(g2)
//   r2 = all_reduce(g2)              g1 = …
//   w2' = update w2, r2              r2 = all_reduce_wait(s2); w2' = update w2, r2
#include <vector>

#include "ops/common/collective.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/reductions.h"

namespace ostria {
namespace {

class Overlapper {
 public:
  explicit Overlapper(Graph& g) : g_(g) {}

  bool Run() {
    std::vector<NodeId> reductions;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (g_.is(n, ops::kAllReduceStart)) return false;  // it was here before
      if (g_.is(n, ops::kAllReduce)) reductions.push_back(n);
    }
    bool changed = false;
    for (const NodeId n : reductions) {
      MoveReductionUp(g_, n);
      position_ = PositionsOf(g_);
      const NodeId reader = FirstReader(n);
      if (!WorkBetween(n, reader)) continue;
      Split(n, reader);
      changed = true;
    }
    return changed;
  }

 private:
  // The first node that reads a result; invalid: only the end of the graph does.
  NodeId FirstReader(NodeId n) const {
    NodeId first;
    for (int i = 0; i < g_.num_results(n); ++i) {
      for (const Use& use : g_.uses(g_.result(n, i))) {
        if (!first.valid() || position_[use.user.id] < position_[first.id]) first = use.user;
      }
    }
    return first;
  }

  bool WorkBetween(NodeId n, NodeId reader) const {
    for (NodeId m = g_.next(n); m.valid() && !(m == reader); m = g_.next(m)) {
      const OpDef& op = g_.op(m);
      if (!op.traits.view && &op != &ops::kConstant && !ops::IsCollective(op)) return true;
    }
    return false;
  }

  void Split(NodeId n, NodeId reader) {
    std::vector<Attr> attrs(g_.attrs(n).begin(), g_.attrs(n).end());
    attrs.emplace_back(slots_++);
    std::vector<ValueType> types;
    std::vector<Value> begun;
    for (int i = 0; i < g_.num_results(n); ++i) types.push_back(g_.type(g_.result(n, i)));
    const NodeId start =
        g_.AddTypedNode(ops::kAllReduceStart, g_.operands(n), attrs, types, g_.location(n), n);
    for (int i = 0; i < g_.num_results(start); ++i) begun.push_back(g_.result(start, i));
    const NodeId wait = g_.AddTypedNode(ops::kAllReduceWait, begun, std::move(attrs), types,
                                        g_.location(n), reader);
    for (int i = 0; i < g_.num_results(n); ++i) {
      g_.ReplaceAllUses(g_.result(n, i), g_.result(wait, i));
    }
    g_.Erase(n);
  }

  Graph& g_;
  std::vector<int> position_;
  int64_t slots_ = 0;
};

}  // namespace

std::vector<int> PositionsOf(const Graph& g) {
  std::vector<int> positions(static_cast<size_t>(g.node_capacity()));
  int position = 0;
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) positions[n.id] = position++;
  return positions;
}

bool MoveReductionUp(Graph& g, NodeId n) {
  const std::vector<int> positions = PositionsOf(g);
  NodeId after;
  const auto comes_after = [&](NodeId other) {
    if (other.valid() && (!after.valid() || positions[other.id] > positions[after.id])) {
      after = other;
    }
  };
  for (int i = 0; i < g.num_operands(n); ++i) comes_after(g.producer(g.operand(n, i)));
  for (NodeId p = g.previous(n); p.valid(); p = g.previous(p)) {
    if (!g.op(p).traits.ordered) continue;
    comes_after(p);
    break;
  }
  const NodeId before = after.valid() ? g.next(after) : g.first();
  if (before == n) return false;
  g.MoveBefore(n, before);
  return true;
}

bool OverlapReductions(Graph& graph, const PassContext&) { return Overlapper(graph).Run(); }

}  // namespace ostria
