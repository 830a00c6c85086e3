// SPDX-License-Identifier: Apache-2.0
// fold_constants: nodes whose inputs are all constants become constants. Elementwise nodes of
// uniform tensors are folded on one element. State is never a constant, so nothing here can go
// stale.
#include "base/check.h"
#include "ir/bytes.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

constexpr int64_t kMaxBytes = 64 * 1024;  // a larger constant costs more to keep than to compute

Tensor Filled(const ValueType& type, double number) {
  Tensor t = Tensor::Empty(type.dtype, type.shape);
  const Tensor one = Tensor::Scalar(type.dtype, number);
  DispatchDType(type.dtype,
                [&]<class T>(T*) { std::fill_n(t.data<T>(), t.numel(), *one.data<T>()); });
  return t;
}

bool IsConstant(const Graph& g, Value v) {
  const NodeId p = g.producer(v);
  return p.valid() && (g.is(p, ops::kConstant) || g.is(p, ops::kFull));
}

Tensor ValueOf(const Graph& g, Value v) {
  const NodeId p = g.producer(v);
  if (g.is(p, ops::kConstant)) return g.attr<Tensor>(p, 0);
  return Filled(g.type(v), g.attr<double>(p, FullAttr::kValue));
}

bool MayFold(const Graph& g, NodeId n) {
  const Traits& traits = g.op(n).traits;
  if (!traits.pure || traits.ordered || g.is(n, ops::kConstant) || g.is(n, ops::kFull))
    return false;
  for (const Attr& a : g.attrs(n)) {
    if (TypeOf(a) == AttrType::kBody) return false;
  }
  for (int i = 0; i < g.num_operands(n); ++i) {
    if (!IsConstant(g, g.operand(n, i))) return false;
  }
  return true;
}

std::vector<Tensor> Evaluate(const Graph& g, NodeId n, std::span<const Tensor> inputs,
                             const PassContext& context) {
  try {
    return context.evaluate(g.op(n), g.attrs(n), inputs);
  } catch (const Error&) {
    return {};  // the same error comes when the plan is built or run, with the user's line
  }
}

// exp(full [8, 10] 0.5)  =>  full [8, 10] 1.648…
bool FoldUniform(Graph& g, NodeId n, const PassContext& context) {
  if (!g.op(n).traits.elementwise || g.num_operands(n) == 0) return false;
  std::vector<Tensor> inputs;
  for (int i = 0; i < g.num_operands(n); ++i) {
    const Value v = g.operand(n, i);
    const std::optional<double> number = UniformValue(g, v);
    if (!number) return false;
    inputs.push_back(Tensor::Scalar(g.dtype(v), *number));
  }
  const std::vector<Tensor> out = Evaluate(g, n, inputs, context);
  if (out.size() != 1) return false;
  const LocationId location = g.location(n);
  const ValueType type = g.type(g.result(n));
  const NodeId one = g.AddNode(ops::kConstant, {}, {out[0]}, location, n);
  const std::optional<double> number = UniformValue(g, g.result(one));
  g.Erase(one);
  if (!number) return false;
  const NodeId full = g.AddNode(ops::kFull, {}, {type.shape, type.dtype, *number}, location, n);
  g.ReplaceAllUses(g.result(n), g.result(full));
  g.Erase(n);
  return true;
}

bool FoldNode(Graph& g, NodeId n, const PassContext& context) {
  for (int i = 0; i < g.num_operands(n); ++i) {
    if (Bytes(g.type(g.operand(n, i))) > kMaxBytes) return false;
  }
  for (int i = 0; i < g.num_results(n); ++i) {
    if (Bytes(g.type(g.result(n, i))) > kMaxBytes) return false;
  }
  std::vector<Tensor> inputs;
  for (int i = 0; i < g.num_operands(n); ++i) inputs.push_back(ValueOf(g, g.operand(n, i)));
  const std::vector<Tensor> out = Evaluate(g, n, inputs, context);
  if (static_cast<int>(out.size()) != g.num_results(n)) return false;
  for (int i = 0; i < g.num_results(n); ++i) {
    const NodeId c = g.AddNode(ops::kConstant, {}, {out[i]}, g.location(n), n);
    g.ReplaceAllUses(g.result(n, i), g.result(c));
  }
  g.Erase(n);
  return true;
}

}  // namespace

bool FoldConstants(Graph& graph, const PassContext& context) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    if (graph.is(n, ops::kDimProduct)) {
      const DType dtype = graph.dtype(graph.result(n));
      const auto count = static_cast<double>(graph.attr<Shape>(n, 0).numel());
      graph.ReplaceAllUses(graph.result(n),
                           UniformScalar(graph, dtype, count, graph.location(n), n));
      graph.Erase(n);
      changed = true;
    } else if (context.evaluate && MayFold(graph, n)) {
      changed |= FoldUniform(graph, n, context) || FoldNode(graph, n, context);
    }
    n = next;
  }
  return changed;
}

// full [10] 0.5  =>  constant {0.5, …}: bytes in the plan instead of a kernel in every step
bool MaterialiseConstants(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    if (graph.is(n, ops::kFull) && Bytes(graph.type(graph.result(n))) <= kMaxBytes) {
      const Tensor t = ValueOf(graph, graph.result(n));
      const NodeId c = graph.AddNode(ops::kConstant, {}, {t}, graph.location(n), n);
      graph.ReplaceAllUses(graph.result(n), graph.result(c));
      graph.Erase(n);
      changed = true;
    }
    n = next;
  }
  return changed;
}

}  // namespace ostria
