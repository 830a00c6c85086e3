// SPDX-License-Identifier: Apache-2.0
// Two steps: an order of units (a group, or a node of none), then a `fused` node for every group.
#include "passes/fused_groups.h"

#include <memory>
#include <unordered_map>
#include <utility>

#include "ops/ops.h"
#include "passes/match.h"

namespace ostria {
namespace {

void CopyMembers(const Graph& g, std::span<const NodeId> members, LoopBody* body,
                 std::unordered_map<int32_t, Value>* map) {
  for (NodeId m : members) {
    std::vector<Value> operands;
    for (int i = 0; i < g.num_operands(m); ++i) {
      const Value v = g.operand(m, i);
      auto [it, fresh] = map->try_emplace(v.id);
      if (fresh) it->second = body->Import(g, v);
      operands.push_back(it->second);
    }
    const std::vector<Value> results = body->Copy(g, m, operands);
    for (int i = 0; i < g.num_results(m); ++i) (*map)[g.result(m, i).id] = results[i];
  }
}

// Without a functor of its own it would run as several ops.
bool IsComposite(const Graph& g, NodeId n) {
  const OpDef& op = g.op(n);
  return op.traits.elementwise && !op.scalar && &op != &ops::kCast;
}

class GroupFuser {
 public:
  GroupFuser(Graph& g, std::span<const std::vector<NodeId>> groups)
      : g_(g),
        groups_(groups),
        group_of_(static_cast<size_t>(g.node_capacity()), -1),
        placed_(static_cast<size_t>(g.node_capacity())) {
    for (size_t k = 0; k < groups.size(); ++k) {
      if (groups[k].size() == 1 && !IsComposite(g, groups[k][0])) continue;
      for (NodeId m : groups[k]) group_of_[m.id] = static_cast<int>(k);
    }
  }

  bool Run() {
    bool changed = false;
    PlaceAll();
    for (NodeId& n : order_) {
      const int k = group_of_[n.id];
      if (k < 0) continue;
      n = Emit(groups_[k]);
      changed = true;
    }
    if (!changed) return false;
    for (NodeId n : order_) {
      if (n.valid()) g_.MoveBefore(n, {});
    }
    return true;
  }

 private:
  // --- Order ---
  // One node per unit (a group by its last member), operands before users, else as before.
  void PlaceAll() {
    std::vector<NodeId> later;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      const int k = group_of_[n.id];
      if (k >= 0 && groups_[k].back() != n) continue;
      if (k < 0 && ShowsAGroupToCome(n))
        later.push_back(n);
      else
        PlaceUnit(n);
    }
    for (NodeId n : later) PlaceUnit(n);
  }
  // A view does nothing: it must not make a group run before its last member's place.
  bool ShowsAGroupToCome(NodeId n) const {
    while (n.valid() && IsView(g_, n) && group_of_[n.id] < 0) n = g_.producer(g_.operand(n, 0));
    return n.valid() && group_of_[n.id] >= 0 && !placed_[groups_[group_of_[n.id]].back().id];
  }

  // An explicit stack: chains may be as long as the graph.
  void PlaceUnit(NodeId first) {
    std::vector<std::pair<NodeId, bool>> stack = {{first, false}};
    while (!stack.empty()) {
      auto [n, ready] = stack.back();
      stack.pop_back();
      const int k = group_of_[n.id];
      if (k >= 0) n = groups_[k].back();
      if (placed_[n.id]) continue;
      if (ready) {
        placed_[n.id] = true;
        order_.push_back(n);
        continue;
      }
      stack.emplace_back(n, true);
      if (k >= 0) {
        for (NodeId m : groups_[k]) PushProducers(m, k, &stack);
      } else {
        PushProducers(n, -1, &stack);
      }
    }
  }
  void PushProducers(NodeId n, int except, std::vector<std::pair<NodeId, bool>>* stack) const {
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const NodeId p = g_.producer(g_.operand(n, i));
      if (p.valid() && (except < 0 || group_of_[p.id] != except)) stack->emplace_back(p, false);
    }
  }

  // --- Fused nodes ---
  bool Leaves(Value v) const {
    if (g_.is_output(v)) return true;
    const int k = group_of_[g_.producer(v).id];
    for (const Use& use : g_.uses(v)) {
      // A node made here belongs to no group.
      const bool made = use.user.id >= static_cast<int>(group_of_.size());
      if (made || group_of_[use.user.id] != k) return true;
    }
    return false;
  }

  NodeId Emit(const std::vector<NodeId>& members) {
    LoopBody body;
    std::unordered_map<int32_t, Value> map;
    CopyMembers(g_, members, &body, &map);
    std::vector<Value> outputs;
    for (NodeId m : members) {
      for (int i = 0; i < g_.num_results(m); ++i) {
        const Value v = g_.result(m, i);
        if (!Leaves(v)) continue;
        body.AddOutput(map[v.id]);
        outputs.push_back(v);
      }
    }
    NodeId made;  // none where the group is dead
    if (!outputs.empty()) {
      made = g_.AddNode(ops::kFused, body.inputs,
                        {Body(std::make_shared<Graph>(std::move(body.graph)))},
                        g_.location(members.back()));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      g_.ReplaceAllUses(outputs[i], g_.result(made, static_cast<int>(i)));
    }
    for (size_t i = members.size(); i-- > 0;) g_.Erase(members[i]);
    return made;
  }

  Graph& g_;
  std::span<const std::vector<NodeId>> groups_;
  std::vector<int> group_of_;  // by node, -1: none
  std::vector<bool> placed_;   // by node
  std::vector<NodeId> order_;
};

}  // namespace

LoopBody BodyOf(const Graph& graph, NodeId n) {
  LoopBody body;
  std::unordered_map<int32_t, Value> map;
  CopyMembers(graph, {&n, 1}, &body, &map);
  for (int i = 0; i < graph.num_results(n); ++i) {
    const Value v = graph.result(n, i);
    if (IsUsed(graph, v)) body.AddOutput(map[v.id]);
  }
  return body;
}

bool FuseGroups(Graph& graph, std::span<const std::vector<NodeId>> groups) {
  return GroupFuser(graph, groups).Run();
}

}  // namespace ostria
