// SPDX-License-Identifier: Apache-2.0
// remove_broadcasts: elementwise ops broadcast by themselves, what is done to copies is done before
// they are made, and a sum over copies is a product; so few tensors have to be repeated in memory.
#include <algorithm>

#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

// Whether `to` is `from` with sizes 1 in front.
bool AddsLeadingOnes(const Shape& from, const Shape& to) {
  const int added = to.rank() - from.rank();
  if (added < 0) return false;
  for (int i = 0; i < to.rank(); ++i) {
    if (!(to[i] == (i < added ? Dim(1) : from[i - added]))) return false;
  }
  return true;
}

Value Insert(Graph& g, NodeId n, const OpDef& op, std::initializer_list<Value> inputs,
             std::vector<Attr> attrs = {}) {
  return g.result(
      g.AddNode(op, {inputs.begin(), inputs.size()}, std::move(attrs), g.location(n), n));
}

// What could stand for `v` as an operand that is broadcast anyway; `made` says whether it is a new
// node.
Value Narrower(Graph& g, Value v, NodeId user, bool* made) {
  *made = false;
  const NodeId p = g.producer(v);
  if (!p.valid()) return {};
  if (g.is(p, ops::kBroadcastTo)) return g.operand(p, 0);
  if (g.is(p, ops::kFull) && g.shape(v).rank() > 0) {
    *made = true;
    const double number = g.attr<double>(p, FullAttr::kValue);
    return UniformScalar(g, g.dtype(v), number, g.location(p), user);
  }
  if (IsView(g, p) && AddsLeadingOnes(g.shape(g.operand(p, 0)), g.shape(v)) &&
      g.shape(g.operand(p, 0)).rank() < g.shape(v).rank()) {
    return g.operand(p, 0);
  }
  return {};
}

// x -> broadcast_to -> add(., y)  =>  add(x, y), when y alone gives the shape
bool IntoElementwise(Graph& g, NodeId n) {
  bool changed = false;
  for (int i = 0; g.num_operands(n) > 1 && i < g.num_operands(n); ++i) {
    bool made;
    const Value x = Narrower(g, g.operand(n, i), n, &made);
    if (!x.valid()) continue;
    if (TypeWithOperand(g, n, i, x) == g.type(g.result(n))) {
      g.SetOperand(n, i, x);
      changed = true;
    } else if (made) {
      g.Erase(g.producer(x));
    }
  }
  return changed;
}

// x -> broadcast_to -> exp  =>  x -> exp -> broadcast_to: fewer elements to compute
Value BeforeBroadcast(Graph& g, NodeId n) {
  std::vector<Value> operands = g.operands(n), made_here;
  std::vector<ValueType> types, narrow;
  for (Value& v : operands) {
    bool made;
    const Value x = Narrower(g, v, n, &made);
    if (x.valid()) v = x;
    if (made) made_here.push_back(x);
    types.push_back(g.type(v));
  }
  const ValueType type = g.type(g.result(n));
  bool fewer = false;
  try {
    InferTypes(g.op(n), types, g.attrs(n), &narrow);
    fewer = narrow[0].shape.numel() < type.shape.numel();
  } catch (const Error&) {  // narrower operands may not fit each other
  }
  if (!fewer) {
    for (const Value v : made_here) g.Erase(g.producer(v));
    return {};
  }
  const std::span<const Attr> attrs = g.attrs(n);
  const NodeId small = g.AddNode(g.op(n), operands, {attrs.begin(), attrs.end()}, g.location(n), n);
  return Insert(g, n, ops::kBroadcastTo, {g.result(small)}, {type.shape});
}

// x -> broadcast_to -> sum  =>  x -> sum over x's own axes -> times the number of copies
Value ReduceBroadcast(Graph& g, NodeId n) {
  const Value repeated = g.operand(n, 0);
  const ValueType type = g.type(g.result(n));
  const Shape wide = g.shape(repeated);
  if (g.dtype(repeated) != type.dtype || !IsFloat(type.dtype)) return {};
  const std::vector<int> axes = ReducedAxes(g, n);
  const bool is_sum = g.is(n, ops::kSum);

  if (const NodeId full = ProducedBy(g, repeated, ops::kFull); full.valid()) {
    double number = g.attr<double>(full, FullAttr::kValue);
    for (int a : axes) {
      if (wide[a] == Dim(0)) return {};  // a mean of nothing is for its kernel to say
      if (is_sum) number *= static_cast<double>(wide[a].value());
    }
    return Insert(g, n, ops::kFull, {}, {type.shape, type.dtype, number});
  }

  const NodeId broadcast = ProducedBy(g, repeated, ops::kBroadcastTo);
  if (!broadcast.valid()) return {};
  Value x = g.operand(broadcast, 0);
  Shape narrow = g.shape(x);
  while (narrow.rank() < wide.rank()) narrow.Insert(0, 1);
  double copies = 1;
  Ints own;           // reduced axes along which x itself has elements
  Shape kept = wide;  // the result with reduced axes as 1
  for (int a : axes) {
    if (wide[a] == Dim(0)) return {};
    if (narrow[a] == wide[a]) {
      if (!(wide[a] == Dim(1))) own.push_back(a);
    } else {
      copies *= static_cast<double>(wide[a].value());
    }
    kept[a] = 1;
  }
  if (copies == 1) return {};  // nothing repeated is reduced
  if (!(g.shape(x) == narrow)) x = Insert(g, n, ops::kReshape, {x}, {narrow});
  if (!own.empty()) x = Insert(g, n, g.op(n), {x}, {own, true});
  if (is_sum) {
    const Value count = UniformScalar(g, type.dtype, copies, g.location(n), n);
    x = Insert(g, n, ops::kMultiply, {x, count});
  }
  if (!(g.shape(x) == kept)) x = Insert(g, n, ops::kBroadcastTo, {x}, {kept});
  return g.shape(x) == type.shape ? x : Insert(g, n, ops::kReshape, {x}, {type.shape});
}

// x -> broadcast_to -> slice_at  =>  x -> broadcast_to, or x: of equal copies some
Value SliceBroadcast(Graph& g, NodeId n) {
  const AxisSlice slice = *SliceOf(g, g.result(n));
  const NodeId broadcast = ProducedBy(g, slice.x, ops::kBroadcastTo);
  if (!broadcast.valid()) return {};
  const Value x = g.operand(broadcast, 0);
  const Shape shape = g.shape(g.result(n));
  const int own = slice.axis - (shape.rank() - g.shape(x).rank());  // the axis within x
  if (own >= 0 && !(g.shape(x)[own] == Dim(1))) return {};
  return g.shape(x) == shape ? x : Insert(g, n, ops::kBroadcastTo, {x}, {shape});
}

// broadcast_to of the same shape  =>  x; of `full`  =>  full; of broadcast_to  =>  one broadcast_to
Value Broadcast(Graph& g, NodeId n) {
  const Value x = g.operand(n, 0);
  const ValueType type = g.type(g.result(n));
  if (g.type(x) == type) return x;
  if (const NodeId full = ProducedBy(g, x, ops::kFull); full.valid()) {
    return Insert(g, n, ops::kFull, {},
                  {type.shape, type.dtype, g.attr<double>(full, FullAttr::kValue)});
  }
  const NodeId p = g.producer(x);
  const bool leading =
      p.valid() && IsView(g, p) && AddsLeadingOnes(g.shape(g.operand(p, 0)), g.shape(x));
  if (p.valid() && (g.is(p, ops::kBroadcastTo) || leading)) {
    return Insert(g, n, ops::kBroadcastTo, {g.operand(p, 0)}, {type.shape});
  }
  return {};
}

}  // namespace

bool RemoveBroadcasts(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (graph.num_results(n) != 1) continue;
    const Value y = graph.result(n);
    if (!IsUsed(graph, y)) continue;
    Value x;
    if (graph.op(n).traits.elementwise) {
      changed |= IntoElementwise(graph, n);
      x = BeforeBroadcast(graph, n);
    } else if (graph.is(n, ops::kSum) || graph.is(n, ops::kMean)) {
      x = ReduceBroadcast(graph, n);
    } else if (graph.is(n, ops::kBroadcastTo)) {
      x = Broadcast(graph, n);
    } else if (graph.is(n, ops::kSliceAt)) {
      x = SliceBroadcast(graph, n);
    }
    if (!x.valid()) continue;
    graph.ReplaceAllUses(y, x);
    changed = true;
  }
  return changed;
}

}  // namespace ostria
