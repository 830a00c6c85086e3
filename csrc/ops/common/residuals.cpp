// SPDX-License-Identifier: Apache-2.0
// The network, for y = f(x) of a forward node f:
//   begin --(operations of f)--> f --(bytes of y)--> y --(no end)--> readers of y, or the end
// What is behind the cut is computed again, so an edge from the beginning that is cut pays its
// operations, and one from a node to its result that is cut stacks the result.
#include "ops/common/residuals.h"

#include "base/min_cut.h"
#include "ops/ops.h"

namespace ostria::ops {
namespace {

constexpr double kNever = MinCut::kNever;
// Operations while a byte goes to memory and back; 24 for an element of float32, as recompute.cpp.
constexpr double kFlopsPerByte = 6;
constexpr double kFlopsPerLaunch = 2e4;  // what the call of a kernel takes that no loop takes in
// Where sizes are symbols, only proportions count.
constexpr double kTypicalSize = 32;
constexpr double kTypicalFlops = 256;  // per element, of what is neither elementwise nor free

double Elements(const Graph& g, Value v) {
  double n = 1;
  for (const Dim d : g.shape(v)) n *= d.is_static() ? static_cast<double>(d.value()) : kTypicalSize;
  return n;
}

double Bytes(const Graph& g, Value v) {
  return Elements(g, v) * static_cast<double>(SizeOf(g.dtype(v)));
}

double CostOfRunning(const Graph& g, NodeId n) {
  const OpDef& op = g.op(n);
  if (op.traits.ordered || !op.traits.pure) return kNever;
  if (op.traits.view || op.flops == &NoFlops || g.num_operands(n) == 0) return 0;
  double elements = 0;
  bool is_static = true;
  for (int i = 0; i < g.num_results(n); ++i) {
    elements += Elements(g, g.result(n, i));
    is_static &= g.shape(g.result(n, i)).is_static();
  }
  for (const Value v : g.operands(n)) is_static &= g.shape(v).is_static();
  if (op.traits.elementwise) return elements;
  return kFlopsPerLaunch + (is_static ? Flops(g, n) : kTypicalFlops * elements);
}

}  // namespace

std::vector<bool> ChooseRecomputed(const Graph& g, const ResidualQuestion& question) {
  constexpr int kBegin = MinCut::kBegin, kEnd = MinCut::kEnd, kFirst = 2;
  const int nodes = g.node_capacity(), values = question.forward_values;
  const auto of = [&](NodeId n) { return kFirst + n.id; };
  const auto at = [&](Value v) { return kFirst + nodes + v.id; };
  MinCut network(kFirst + nodes + values);
  for (const Value v : g.inputs()) {
    if (v.id >= values) continue;
    if (!question.is_given[v.id]) network.AddEdge(kBegin, at(v), kFlopsPerByte * Bytes(g, v));
    if (question.needed[v.id]) network.AddEdge(at(v), kEnd, kNever);
  }
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    if (g.result(n).id >= values) continue;
    network.AddEdge(kBegin, of(n), CostOfRunning(g, n));
    for (const Value v : g.operands(n)) network.AddEdge(at(v), of(n), kNever);
    for (int i = 0; i < g.num_results(n); ++i) {
      const Value y = g.result(n, i);
      network.AddEdge(of(n), at(y), kFlopsPerByte * Bytes(g, y));
      if (question.needed[y.id]) network.AddEdge(at(y), kEnd, kNever);
    }
  }
  network.Run();
  const std::vector<bool> before = network.Reached();
  std::vector<bool> again(static_cast<size_t>(nodes));
  for (int n = 0; n < nodes; ++n) again[n] = !before[kFirst + n];
  return again;
}

}  // namespace ostria::ops
