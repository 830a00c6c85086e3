// SPDX-License-Identifier: Apache-2.0
// inline_control: control ops that decide nothing are replaced by what they run.
//   cond(true, xs; f, g)              =>  f(xs)
//   scan(h, xs; f) of length 0        =>  h, and ys without rows
//   scan(h, xs; f) of length 1        =>  f(h, xs[0]), its ys reshaped to one row
#include "ops/common/build.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

std::vector<Value> InlineCond(Graph& g, NodeId n) {
  const NodeId pred = g.producer(g.operand(n, 0));
  if (!pred.valid() || g.num_operands(pred) > 0) return {};
  const std::optional<double> number = UniformValue(g, g.operand(n, 0));
  if (!number) return {};
  const Body body = g.attr<Body>(n, *number != 0 ? ops::CondAttr::kThen : ops::CondAttr::kElse);
  std::vector<Value> operands = g.operands(n);
  operands.erase(operands.begin());
  return Inline(g, *body, operands, n, g.location(n));
}

std::vector<Value> InlineScan(Graph& g, NodeId n) {
  const ops::ScanParts p = ops::PartsOf(g, n);
  if (p.length > 1) return {};
  Builder b(g, g.location(n), n);
  std::vector<Value> operands = g.operands(n), out;
  if (p.length == 0) {
    out.assign(operands.begin() + p.captures, operands.begin() + p.first_x());
    for (int k = 0; k < p.ys; ++k) {
      const ValueType type = g.type(g.result(n, p.carries + k));
      out.push_back(ops::Full(b, type, 0.0));
    }
    return out;
  }
  for (int i = p.first_x(); i < p.first_x() + p.xs; ++i) {
    Shape row = g.shape(operands[i]);
    row.Remove(0);
    operands[i] = ops::Reshape(b, operands[i], row);
  }
  operands.push_back(UniformScalar(g, DType::kInt64, 0, g.location(n), n));
  const Body body = g.attr<Body>(n, ops::ScanAttr::kBody);
  out = Inline(g, *body, operands, n, g.location(n));
  for (int k = 0; k < p.ys; ++k) {
    const Shape shape = g.shape(g.result(n, p.carries + k));
    out[p.carries + k] = ops::Reshape(b, out[p.carries + k], shape);
  }
  return out;
}

}  // namespace

bool InlineControl(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    std::vector<Value> results;
    if (graph.is(n, ops::kCond)) results = InlineCond(graph, n);
    if (graph.is(n, ops::kScan)) results = InlineScan(graph, n);
    if (!results.empty()) {
      for (int i = 0; i < graph.num_results(n); ++i) {
        graph.ReplaceAllUses(graph.result(n, i), results[i]);
      }
      graph.Erase(n);
      changed = true;
    }
    n = next;
  }
  return changed;
}

}  // namespace ostria
