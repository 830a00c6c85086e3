// SPDX-License-Identifier: Apache-2.0
// softmax_cross_entropy: a cross-entropy written as log(softmax(x)), and its gradient, become
// log_softmax and its gradient: one pass over the row each, and finite where softmax underflows to
// 0. One-hot labels are not taken apart: sparse_softmax_cross_entropy refuses labels that one_hot
// turns into rows of zeros. Where a graph has that loss and its gradient, the gradient's node,
// which gives both, moves to the loss's place: the logits are read once. On a GPU it reads and
// writes logits of 16 bits as they are, computing in float32.
#include <algorithm>

#include "ops/common/attr_index.h"
#include "ops/common/classes.h"
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

enum GradOperand { kLogits, kLabels, kG };

// The loss of the same logits and labels as `gradient`.
NodeId LossOf(const Graph& g, NodeId gradient) {
  for (const Use& use : g.uses(g.operand(gradient, kLogits))) {
    if (g.is(use.user, ops::kSparseSoftmaxCrossEntropy) &&
        g.operand(use.user, kLabels) == g.operand(gradient, kLabels) &&
        SameAttr(g.attrs(use.user)[ops::kClassesAttr], g.attrs(gradient)[ops::kClassesAttr]) &&
        IsUsed(g, g.result(use.user))) {
      return use.user;
    }
  }
  return {};
}

// What lies between the loss and its gradient and makes the gradient's `g`, last first. False where
// it cannot go in front of the loss: it reads the loss, as a focal loss does, or has an effect.
bool MakersOfG(const Graph& g, NodeId loss, NodeId gradient, std::vector<NodeId>* makers) {
  std::vector<NodeId> wanted = {g.producer(g.operand(gradient, kG))};
  const auto is_wanted = [&](NodeId n) {
    return std::find(wanted.begin(), wanted.end(), n) != wanted.end();
  };
  for (NodeId n = g.previous(gradient); n != loss; n = g.previous(n)) {
    if (!n.valid()) return false;
    if (!is_wanted(n)) continue;
    if (g.op(n).traits.ordered || !g.op(n).traits.pure) return false;
    makers->push_back(n);
    for (Value v : g.operands(n)) wanted.push_back(g.producer(v));
  }
  return !is_wanted(loss);
}

bool JoinWithLoss(Graph& g, NodeId gradient) {
  const NodeId loss = LossOf(g, gradient);
  std::vector<NodeId> makers;
  if (!loss.valid() || !MakersOfG(g, loss, gradient, &makers)) return false;
  std::for_each(makers.rbegin(), makers.rend(), [&](NodeId n) { g.MoveBefore(n, loss); });
  g.MoveBefore(gradient, loss);
  g.ReplaceAllUses(g.result(loss), g.result(gradient, 1));
  return true;
}

// The view that `n` is, of `x`.
Value ViewAs(Graph& g, NodeId n, Value x, NodeId before) {
  const std::vector<Attr> attrs(g.attrs(n).begin(), g.attrs(n).end());
  return g.result(g.AddNode(g.op(n), std::vector<Value>{x}, attrs, g.location(n), before));
}

// What `v` is a cast of, of 16 bits, or where it is a view of such a cast, the same view of that.
Value LowOf(Graph& g, Value v, NodeId before) {
  const NodeId n = g.producer(v);
  if (!n.valid()) return {};
  if (g.is(n, ops::kCast)) {
    const Value x = g.operand(n, 0);
    return IsFloat(g.dtype(x)) && SizeOf(g.dtype(x)) == 2 ? x : Value{};
  }
  if (!IsView(g, n)) return {};
  const Value x = LowOf(g, g.operand(n, 0), before);
  if (!x.valid()) return {};
  return ViewAs(g, n, x, before);
}

// Whether all that is read of `v`, and of views of it, is its cast to `low`.
bool ReadAs(const Graph& g, Value v, DType low) {
  if (g.is_output(v)) return false;
  const std::vector<Use> uses = g.uses(v);
  return !uses.empty() && std::all_of(uses.begin(), uses.end(), [&](const Use& use) {
    const Value y = g.result(use.user);
    if (g.is(use.user, ops::kCast)) return g.dtype(y) == low;
    return IsView(g, use.user) && ReadAs(g, y, low);
  });
}

// Gives the readers of `v`'s cast the value `made`, which is that already.
void Replace(Graph& g, Value v, Value made) {
  for (const Use& use : g.uses(v)) {
    const NodeId n = use.user;
    if (g.is(n, ops::kCast)) {
      g.ReplaceAllUses(g.result(n), made);
      continue;
    }
    Replace(g, g.result(n), ViewAs(g, n, made, n));
  }
}

// x -> cast(float32) -> sparse_softmax_cross_entropy_grad -> cast(bfloat16)
//                                        =>  x -> sparse_softmax_cross_entropy_grad
// The loss stays in float32, and so does what it is weighed by.
bool KeepLow(Graph& g, NodeId n) {
  const Value dlogits = g.result(n, 0), logits = g.operand(n, kLogits);
  if (g.dtype(logits) != DType::kFloat32) return false;
  const bool halves = ReadAs(g, dlogits, DType::kBFloat16) || ReadAs(g, dlogits, DType::kFloat16);
  const Value low = halves ? LowOf(g, logits, n) : Value{};
  if (!low.valid() || !ReadAs(g, dlogits, g.dtype(low))) return false;
  const std::vector<Value> operands = {low, g.operand(n, kLabels), g.operand(n, kG)};
  const NodeId made = g.AddNode(ops::kSparseSoftmaxCrossEntropyGrad, operands,
                                {g.attr<int64_t>(n, ops::kClassesAttr)}, g.location(n), n);
  Replace(g, dlogits, g.result(made, 0));
  g.ReplaceAllUses(g.result(n, 1), g.result(made, 1));
  return true;
}

}  // namespace

bool FuseSoftmaxCrossEntropy(Graph& graph, const PassContext& context) {
  bool changed = false;
  for (NodeId next, n = graph.first(); n.valid(); n = next) {
    next = graph.next(n);
    if (graph.is(n, ops::kSparseSoftmaxCrossEntropyGrad)) {
      changed |= JoinWithLoss(graph, n);
      if (context.device == DeviceKind::kCuda) changed |= KeepLow(graph, n);
    }
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
