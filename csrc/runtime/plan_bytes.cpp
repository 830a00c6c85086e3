// SPDX-License-Identifier: Apache-2.0
// The bytes that the steps of a plan move, and the least that they could move if everything that
// can be a loop were fused. Libraries read and write all their operands. Loops exchange nothing
// inside a stage: what lies between two libraries' results. A fold over leading axes ends a stage
// too, since its result is known only when all rows have been seen. Of a table that is read or
// updated by rows only the rows count.
#include "runtime/plan_bytes.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "ir/builder.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"
#include "runtime/control.h"

namespace ostria {
namespace {

int64_t Bytes(const ValueType& t) { return t.shape.numel() * SizeOf(t.dtype); }

bool IsUpdate(const Graph& g, NodeId n) { return g.op(n).traits.mirror_gradient >= 0; }

// Of a weight or slot that an update touches; `at` is its place in the operands or results, which
// are groups of as many tensors as there are variables.
int64_t UpdatedBytes(const Graph& g, NodeId n, Value v, int at) {
  const OpDef& op = g.op(n);
  const int count = VariadicCount(op, g.num_operands(n)), variable = at % count;
  const ops::Segments segments(ops::FormOf(op), g.attrs(n));
  if (segments.outer_rows(variable) != ops::kByRows) return Bytes(g.type(v));
  const Value rows = g.operand(n, op.traits.mirror_gradient * count + variable);
  return std::min(Bytes(g.type(v)), g.shape(rows).numel() * SizeOf(g.type(v).dtype));
}

int64_t ReadBytes(const Graph& g, NodeId n, int i) {
  const Value v = g.operand(n, i);
  if (g.is(n, ops::kGather) && i == 0)
    return std::min(Bytes(g.type(v)), Bytes(g.type(g.result(n, 0))));
  if (IsUpdate(g, n)) {
    const int count = VariadicCount(g.op(n), g.num_operands(n));
    const int group = i / count;
    if (group < ops::FormOf(g.op(n)).groups && group != g.op(n).traits.mirror_gradient)
      return UpdatedBytes(g, n, v, i);
  }
  return Bytes(g.type(v));
}
int64_t WrittenBytes(const Graph& g, NodeId n, int i) {
  const Value v = g.result(n, i);
  return IsUpdate(g, n) ? UpdatedBytes(g, n, v, i) : Bytes(g.type(v));
}

bool IsFold(const Graph& g, NodeId n) {
  return g.is(n, ops::kSum) || g.is(n, ops::kMean) || g.is(n, ops::kMax) || g.is(n, ops::kMin);
}
bool IsLoop(const Graph& g, NodeId n) {
  const Traits& t = g.op(n).traits;
  return t.elementwise || t.loop || IsFold(g, n) || g.is(n, ops::kBroadcastTo);
}

// A value that loops cannot read in the stage that makes it.
bool EndsStage(const Graph& g, Value v) {
  const NodeId n = g.producer(v);
  if (!n.valid() || !IsLoop(g, n) || g.op(n).traits.elementwise) return false;
  const Shape& in = g.shape(g.operand(n, 0));
  const Shape& out = g.shape(v);
  if (g.num_operands(n) == 0 || in.rank() == 0 || out.numel() == in.numel()) return false;
  const Dim first = in[0];  // kept by a fold over the last axes
  return out.rank() == 0 || !(out[0] == first) || first == Dim(1);
}

// `kept`: nodes that do not run every time; those of their bodies do not either.
Graph Flatten(const Graph& graph, std::vector<bool>* kept) {
  Graph g = graph.Clone();
  for (NodeId n = g.first(); n.valid();) {
    const NodeId next = g.next(n);
    if (g.is(n, ops::kFused)) {
      const std::vector<Value> operands = g.operands(n);
      const std::vector<Value> results = Inline(g, *g.attr<Body>(n, 0), operands, n, g.location(n));
      for (int i = 0; i < g.num_results(n); ++i) g.ReplaceAllUses(g.result(n, i), results[i]);
      kept->resize(static_cast<size_t>(g.node_capacity()), (*kept)[n.id]);
      g.Erase(n);
    }
    n = next;
  }
  return g;
}

class Bound {
 public:
  Bound(const Graph& graph, std::vector<bool> kept)
      : kept_(std::move(kept)),
        g_(Flatten(graph, &kept_)),
        stage_(static_cast<size_t>(g_.node_capacity())),
        root_(static_cast<size_t>(g_.value_capacity())) {
    for (size_t i = 0; i < root_.size(); ++i) root_[i] = static_cast<int32_t>(i);
  }

  int64_t Run() {
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (g_.op(n).traits.view) root_[g_.result(n).id] = root_[g_.operand(n, 0).id];
      int stage = 0;
      for (int i = 0; i < g_.num_operands(n); ++i) {
        const Value v = Root(g_.operand(n, i));
        const NodeId p = g_.producer(v);
        if (!p.valid() || !Runs(p)) continue;
        const bool after = !IsLoop(g_, p) || EndsStage(g_, v);
        stage = std::max(stage, stage_[p.id] + (after ? 1 : 0));
      }
      stage_[n.id] = stage;
    }
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) Visit(n);
    return bytes_ + Loops();
  }

 private:
  Value Root(Value v) const { return Value{root_[v.id]}; }
  bool Runs(NodeId n) const {
    return !kept_[n.id] && !g_.op(n).traits.view && !g_.is(n, ops::kConstant) &&
           !g_.is(n, ops::kFull);
  }
  bool IsNumber(Value v) const {
    const NodeId p = g_.producer(v);
    return p.valid() && (g_.is(p, ops::kFull) || g_.shape(v).numel() == 1);
  }

  void Visit(NodeId n) {
    if (!Runs(n)) return;
    const bool loop = IsLoop(g_, n);
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const Value v = Root(g_.operand(n, i));
      if (!loop) {
        bytes_ += ReadBytes(g_, n, i);
        leaves_.push_back(v.id);
        continue;
      }
      const NodeId p = g_.producer(v);
      const bool here = p.valid() && IsLoop(g_, p) && stage_[p.id] == stage_[n.id];
      if (here || IsNumber(v)) continue;
      reads_.emplace_back(v.id, stage_[n.id]);
      leaves_.push_back(v.id);
    }
    for (int i = 0; !loop && i < g_.num_results(n); ++i) bytes_ += WrittenBytes(g_, n, i);
  }

  // Each stage reads a value once; a loop's result that leaves its stage is written once.
  int64_t Loops() {
    for (Value v : g_.outputs()) leaves_.push_back(Root(v).id);
    for (const StateEntry& s : g_.state()) leaves_.push_back(Root(s.out).id);
    std::sort(reads_.begin(), reads_.end());
    reads_.erase(std::unique(reads_.begin(), reads_.end()), reads_.end());
    std::sort(leaves_.begin(), leaves_.end());
    leaves_.erase(std::unique(leaves_.begin(), leaves_.end()), leaves_.end());
    int64_t bytes = 0;
    for (const auto& [v, stage] : reads_) bytes += Bytes(g_.type(Value{v}));
    for (int32_t id : leaves_) {
      const NodeId p = g_.producer(Value{id});
      if (p.valid() && Runs(p) && IsLoop(g_, p)) bytes += Bytes(g_.type(Value{id}));
    }
    return bytes;
  }

  std::vector<bool> kept_;  // by node
  Graph g_;
  std::vector<int> stage_;       // by node
  std::vector<int32_t> root_;    // value -> the value whose bytes it shows
  std::vector<int32_t> leaves_;  // values that are read outside the stage that makes them
  std::vector<std::pair<int32_t, int>> reads_;
  int64_t bytes_ = 0;
};

}  // namespace

void CountBytes(const Graph& g, Plan* plan) {
  const auto every_run = std::span(plan->steps).subspan(static_cast<size_t>(plan->num_kept));
  for (const Step& step : every_run) {
    for (int i = 0; i < step.num_inputs; ++i) plan->stats.moved_bytes += ReadBytes(g, step.node, i);
    for (int i = 0; i < step.num_outputs; ++i) {
      const Operand& out = plan->operands[step.first_operand + step.num_inputs + i];
      if (out.region == Region::kUnread) continue;
      plan->stats.moved_bytes += WrittenBytes(g, step.node, i);
    }
  }
  std::vector<bool> kept(static_cast<size_t>(g.node_capacity()));
  for (const Step& step : std::span(plan->steps).first(static_cast<size_t>(plan->num_kept))) {
    if (!step.pack) kept[step.node.id] = true;
  }
  plan->stats.fused_bound_bytes = Bound(g, std::move(kept)).Run();
  for (const Step& step : plan->steps) {
    for (const BodyPlan& body : BodiesOf(*step.state)) {
      plan->stats.moved_bytes += body.times * body.plan->stats.moved_bytes;
      plan->stats.fused_bound_bytes += body.times * body.plan->stats.fused_bound_bytes;
      plan->stats.constant_bytes += body.plan->stats.constant_bytes;
    }
  }
  for (const Copy& c : plan->copies) {
    plan->stats.moved_bytes += 2 * c.bytes;
    plan->stats.fused_bound_bytes += 2 * c.bytes;
  }
}

}  // namespace ostria
