// SPDX-License-Identifier: Apache-2.0
// softmax_cross_entropy: a cross-entropy written as log(softmax(x)), and its gradient, become
// log_softmax and its gradient: one pass over the row each, and finite where softmax underflows to
// 0. One-hot labels are not taken apart: sparse_softmax_cross_entropy refuses labels that one_hot
// turns into rows of zeros.
#include "ops/common/attr_index.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using ops::SoftmaxAttr;

Value Insert(Graph& g, NodeId n, const OpDef& op, std::initializer_list<Value> inputs, Attr attr) {
  return g.result(
      g.AddNode(op, {inputs.begin(), inputs.size()}, {std::move(attr)}, g.location(n), n));
}

Value LogSoftmax(Graph& g, NodeId n, NodeId softmax) {
  const int64_t axis = g.attr<int64_t>(softmax, SoftmaxAttr::kAxis);
  return Insert(g, n, ops::kLogSoftmax, {g.operand(softmax, 0)}, axis);
}

// x -> softmax -> log  =>  x -> log_softmax
Value OfLog(Graph& g, NodeId n) {
  const NodeId softmax = ProducedBy(g, g.operand(n, 0), ops::kSoftmax);
  return softmax.valid() ? LogSoftmax(g, n, softmax) : Value{};
}

// s = softmax(x);  softmax_grad(s, u / s)  =>  log_softmax_grad(log_softmax(x), u)
Value OfGradient(Graph& g, NodeId n) {
  const Value s = g.operand(n, 0);
  const NodeId softmax = ProducedBy(g, s, ops::kSoftmax);
  const NodeId divide = ProducedBy(g, g.operand(n, 1), ops::kDivide);
  if (!softmax.valid() || !divide.valid() || g.operand(divide, 1) != s) return {};
  const int64_t axis = g.attr<int64_t>(n, SoftmaxAttr::kAxis);
  if (axis != g.attr<int64_t>(softmax, SoftmaxAttr::kAxis)) return {};
  const ValueType type = g.type(s);
  Value u = g.operand(divide, 0);
  if (g.type(u) != type) u = Insert(g, n, ops::kBroadcastTo, {u}, type.shape);
  return Insert(g, n, ops::kLogSoftmaxGrad, {LogSoftmax(g, n, softmax), u}, axis);
}

}  // namespace

bool FuseSoftmaxCrossEntropy(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    const bool log = graph.is(n, ops::kLog);
    if ((!log && !graph.is(n, ops::kSoftmaxGrad)) || !IsUsed(graph, graph.result(n))) continue;
    const Value y = log ? OfLog(graph, n) : OfGradient(graph, n);
    if (!y.valid()) continue;
    graph.ReplaceAllUses(graph.result(n), y);
    changed = true;
  }
  return changed;
}

}  // namespace ostria
