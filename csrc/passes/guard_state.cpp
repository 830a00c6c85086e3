// SPDX-License-Identifier: Apache-2.0
// guard_state: a device whose work is in a stream before its data are known goes on behind a bad
// index; such a step must change no state, as where a kernel ends the run (decision B7).
//
//   y = gather(x, ids); w' = update(w, .., commit)  =>  ok, c = data_accepted(commit, y)
//                                                       w' = update(w, .., c)
//   n' = n + 1                                      =>  n' = where(ok, n + 1, n)
//
// An update that a later check does not need moves behind the checks, so it still writes in place.
// forget_checks takes `y` away when no node moves any more, or it would live until there.
#include <unordered_map>
#include <vector>

#include "ir/builder.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

class Guard {
 public:
  explicit Guard(Graph& g)
      : g_(g),
        position_(static_cast<size_t>(g.node_capacity())),
        feeds_(static_cast<size_t>(g.node_capacity())) {}

  bool Run() {
    bool writes = false;
    for (const StateEntry& e : g_.state()) writes |= !(e.in == e.out);
    if (!writes) return false;
    for (NodeId n = g_.last(); n.valid(); n = g_.previous(n)) {
      if (g_.is(n, ops::kDataAccepted)) return false;  // it was here before
      const bool checks = ops::ChecksData(g_, n);
      if (checks && !last_check_.valid()) last_check_ = n;
      if (checks) checks_.push_back(g_.result(n));
      if (!checks && !feeds_[n.id]) continue;
      feeds_[n.id] = true;
      for (int i = 0; i < g_.num_operands(n); ++i) {
        const NodeId producer = g_.producer(g_.operand(n, i));
        if (producer.valid()) feeds_[producer.id] = true;
      }
    }
    if (!last_check_.valid()) return false;
    MoveUpdates();
    for (NodeId n = g_.next(last_check_); n.valid(); n = g_.next(n)) {
      const int decision = DecisionOf(n);
      if (decision >= 0) guarded_.try_emplace(g_.operand(n, decision).id);
    }
    int32_t position = 0;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) position_[n.id] = position++;
    std::vector<int> open;  // entries that no decision of their own guards
    for (int i = 0; i < static_cast<int>(g_.state().size()); ++i) {
      const StateEntry& e = g_.state()[i];
      if (e.in == e.out || g_.shape(e.in).numel() == 0) continue;
      if (!GuardDecision(e)) open.push_back(i);
    }
    GuardRest(open);
    return true;
  }

 private:
  /// The operand of `n` that decides whether it changes anything, or -1.
  int DecisionOf(NodeId n) const {
    const OpDef& op = g_.op(n);
    const int lists = VariadicCount(op, g_.num_operands(n));
    int operand = 0;
    for (const InputDef& in : op.inputs) {
      if (in.name == "commit") return operand;
      operand += in.arity == Arity::kVariadic ? lists : 1;
    }
    return -1;
  }

  /// The operand that result `r` of such an op is equal to where the decision is false.
  int KeptOperand(NodeId n, int r) const {
    const OpDef& op = g_.op(n);
    const int lists = VariadicCount(op, g_.num_operands(n));
    const int group = r / lists, gradient = op.traits.mirror_gradient;
    return (gradient >= 0 && group >= gradient ? group + 1 : group) * lists + r % lists;
  }

  // Updates in front of a check that does not need them, with what reads them.
  void MoveUpdates() {
    std::vector<bool> moves(static_cast<size_t>(g_.node_capacity()));
    std::vector<NodeId> moved;
    for (NodeId n = g_.first(); !(n == last_check_); n = g_.next(n)) {
      if (feeds_[n.id]) continue;
      bool follows = DecisionOf(n) >= 0;
      for (int i = 0; i < g_.num_operands(n) && !follows; ++i) {
        const NodeId producer = g_.producer(g_.operand(n, i));
        follows = producer.valid() && moves[producer.id];
      }
      if (!follows) continue;
      moves[n.id] = true;
      moved.push_back(n);
    }
    const NodeId behind = g_.next(last_check_);
    for (NodeId n : moved) g_.MoveBefore(n, behind);
  }

  // What `decision` was, under the condition that the data are good.
  Value Guarded(Value decision) {
    Value& made = guarded_[decision.id];
    if (made.valid()) return made;
    NodeId after = g_.producer(decision);
    if (!after.valid() || Comes(after) < Comes(last_check_)) after = last_check_;
    Builder b(g_, g_.location(last_check_), g_.next(after));
    std::vector<Value> operands = {decision};
    operands.insert(operands.end(), checks_.begin(), checks_.end());
    const std::vector<Value> results = b.Multi(ops::kDataAccepted, operands);
    accepted_ = results[0];
    return made = results[1];
  }

  // An update or a selection that keeps the old value already.
  bool GuardDecision(const StateEntry& e) {
    const NodeId n = g_.producer(e.out);
    if (!n.valid() || Comes(n) < Comes(last_check_)) return false;
    int decision = -1, kept = -1;
    if (g_.is(n, ops::kWhere)) {
      decision = 0;
      kept = 2;
    } else if ((decision = DecisionOf(n)) >= 0) {
      kept = KeptOperand(n, g_.result_index(e.out));
    }
    if (decision < 0 || !(g_.operand(n, kept) == e.in)) return false;
    const Value was = g_.operand(n, decision);
    if (IsGuarded(was)) return true;
    if (!guarded_.contains(was.id)) return false;  // it decides about this value alone
    g_.SetOperand(n, decision, Guarded(was));
    return true;
  }

  /// The place of a node in the graph; what was added is in front of everything.
  int32_t Comes(NodeId n) const {
    return n.id < static_cast<int32_t>(position_.size()) ? position_[n.id] : -1;
  }

  bool IsGuarded(Value v) const {
    const NodeId n = g_.producer(v);
    return n.valid() && g_.is(n, ops::kDataAccepted);
  }

  void GuardRest(const std::vector<int>& entries) {
    if (entries.empty()) return;
    if (!accepted_.valid()) {
      const LocationId location = g_.location(last_check_);
      Guarded(UniformScalar(g_, DType::kBool, 1.0, location, g_.first()));
    }
    for (const int i : entries) {
      const StateEntry& e = g_.state()[i];
      Builder b(g_, g_.location(e.out));
      g_.SetStateOut(i, b(ops::kWhere, {accepted_, e.out, e.in}));
    }
  }

  Graph& g_;
  std::vector<int32_t> position_;  // of the nodes that were there at first
  std::vector<bool> feeds_;        // by node: a check needs it, or it is one
  NodeId last_check_;
  std::vector<Value> checks_;                   // a result of each
  std::unordered_map<int32_t, Value> guarded_;  // by decision of an update, invalid until made
  Value accepted_;
};

}  // namespace

bool GuardState(Graph& graph, const PassContext&) { return Guard(graph).Run(); }

bool ForgetChecks(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    if (graph.is(n, ops::kDataAccepted) && graph.num_operands(n) > 1) {
      Builder b(graph, graph.location(n), n);
      const std::vector<Value> alone = b.Multi(ops::kDataAccepted, {graph.operand(n, 0)});
      for (int i = 0; i < 2; ++i) graph.ReplaceAllUses(graph.result(n, i), alone[i]);
      graph.Erase(n);
      changed = true;
    }
    n = next;
  }
  return changed;
}

}  // namespace ostria
