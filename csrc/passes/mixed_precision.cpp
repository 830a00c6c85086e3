// SPDX-License-Identifier: Apache-2.0
//   y = matmul(x, w)   ->   m = matmul(cast(x), cast(w));  y' = cast(m, float32)
// A consumer of y' that runs low too reads m.
#include "passes/mixed_precision.h"

#include <algorithm>
#include <utility>

#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

bool HasBody(const Graph& g, NodeId n) {
  return std::any_of(g.attrs(n).begin(), g.attrs(n).end(),
                     [](const Attr& a) { return std::holds_alternative<Body>(a); });
}

}  // namespace

// Variables, constants and scalars take the dtype of what they meet.
bool MixedPrecision::IsFree(const Graph& g, Value v) const {
  const NodeId n = g.producer(v);
  if (n.valid()) return g.is(n, ops::kConstant) || g.is(n, ops::kFull) || g.shape(v).rank() == 0;
  return free_.contains(v.id) || std::any_of(g.state().begin(), g.state().end(),
                                             [&](const StateEntry& s) { return s.in == v; });
}

bool MixedPrecision::Pins(const Graph& g, Value v) const {
  const NodeId n = g.producer(v);
  const bool cast = n.valid() && g.is(n, ops::kCast) && g.dtype(v) == DType::kFloat32;
  return pinned_.contains(v.id) || (cast && !computed_.contains(v.id));
}

Value MixedPrecision::Now(Value v) const {
  const auto it = replaced_.find(v.id);
  return it == replaced_.end() ? v : it->second;
}

void MixedPrecision::Skip(const Graph& graph) {
  last_ = graph.last();
  skipped_ = true;
}

void MixedPrecision::Run(Graph& graph) {
  const NodeId end = graph.last();
  NodeId n = last_.valid() ? graph.next(last_) : graph.first();
  while (n.valid()) {
    const NodeId next = graph.next(n);
    const bool is_end = n == end;
    Visit(graph, n);
    if (is_end) break;
    n = next;
  }
  last_ = graph.last();
}

Value MixedPrecision::Low(Graph& graph, Value v, NodeId before) {
  const auto [it, fresh] = casts_.try_emplace(v.id);
  if (fresh) {
    Builder b(graph, graph.location(before), before);
    it->second = b(ops::kCast, {v}, {low_});
  }
  return it->second;
}

// What follows runs low where all it reads was computed so, apart from what is free to be cast.
bool MixedPrecision::Wants(const Graph& g, NodeId n) const {
  bool any_float = false, any_low = false, others_free = true;
  for (int i = 0; i < g.num_operands(n); ++i) {
    const Value v = g.operand(n, i);
    if (!IsFloat(g.dtype(v))) continue;
    if (g.dtype(v) != DType::kFloat32) return false;
    any_float = true;
    if (computed_.contains(v.id)) {
      any_low = true;
    } else {
      others_free &= !pinned_.contains(v.id) && IsFree(g, v);
    }
  }
  return g.op(n).traits.amp == Amp::kLow ? any_float : any_low && others_free;
}

// A float32 op, such as batch_norm, whose first operand was computed low, beside parameters.
bool MixedPrecision::ReadsLow(const Graph& g, NodeId n) const {
  const auto is_wide = [&](int i) { return g.dtype(g.operand(n, i)) == DType::kFloat32; };
  if (g.num_operands(n) < 2 || !is_wide(0) || !computed_.contains(g.operand(n, 0).id)) return false;
  for (int i = 1; i < g.num_operands(n); ++i) {
    if (!is_wide(i)) return false;
  }
  return true;
}

void MixedPrecision::Visit(Graph& graph, NodeId n) {
  const OpDef& op = graph.op(n);
  const std::string line = ShortLocation(graph.location(n));
  if (HasBody(graph, n)) return;
  if (&op == &ops::kCast) {
    if (const Value y = graph.result(n, 0); Pins(graph, y)) pinned_.insert(y.id);
    return;
  }
  if (op.traits.view && pinned_.contains(graph.operand(n, 0).id)) {  // the same under another shape
    pinned_.insert(graph.result(n, 0).id);
    return;
  }
  if (!op.traits.pure || op.traits.ordered) return;
  // Statistics stay in float32, but the image that they are of comes and goes as it is stored.
  const bool first_only = op.traits.amp == Amp::kFp32;
  if (first_only ? !ReadsLow(graph, n) : !Wants(graph, n)) return;
  for (int i = 0; i < graph.num_operands(n); ++i) {
    if (!pinned_.contains(graph.operand(n, i).id)) continue;
    notes_.push_back({std::string(op.name), "float32", "an operand was cast by the user", line});
    return;
  }

  std::vector<ValueType> types, results;
  for (const Value v : graph.operands(n)) {
    types.push_back(graph.type(v));
    const bool stays = first_only && types.size() > 1;
    if (types.back().dtype == DType::kFloat32 && !stays) types.back().dtype = low_;
  }
  const std::vector<Attr> attrs(graph.attrs(n).begin(), graph.attrs(n).end());
  try {
    InferTypes(op, types, attrs, &results);
  } catch (const Error&) {
    return;  // not for half precision
  }
  // What an op gives in float32 whatever it reads, such as attention's log-sum-exp, stays so.
  for (int i = 0; i < graph.num_results(n); ++i) {
    const DType before = graph.dtype(graph.result(n, i)), after = results[i].dtype;
    if (after != before && !(before == DType::kFloat32 && after == low_)) return;
  }

  std::vector<Value> operands = graph.operands(n);
  for (size_t i = 0; i < operands.size(); ++i) {
    if (graph.dtype(operands[i]) != types[i].dtype) operands[i] = Low(graph, operands[i], n);
  }
  const NodeId m = graph.AddTypedNode(op, operands, attrs, results, graph.location(n), n);
  Builder b(graph, graph.location(n), n);
  for (int i = 0; i < graph.num_results(n); ++i) {
    const Value old = graph.result(n, i), made = graph.result(m, i);
    Value now = made;
    if (graph.dtype(made) != graph.dtype(old)) {
      now = b(ops::kCast, {made}, {DType::kFloat32});
      casts_[now.id] = made;
      computed_.insert(now.id);
    }
    graph.ReplaceAllUses(old, now);
    replaced_[old.id] = now;
  }
  graph.Erase(n);
  notes_.push_back({std::string(op.name), std::string(ostria::Name(low_)), "", line});
}

}  // namespace ostria
