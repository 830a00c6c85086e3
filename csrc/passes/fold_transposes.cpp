// SPDX-License-Identifier: Apache-2.0
// fold_transposes: a matrix product reads its operands in either order, so transposes beside it
// become its flags.
#include "ops/common/attr_index.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using ops::MatmulAttr;

// The transpose that defines `v`, when it swaps the last two axes and leaves the others.
NodeId SwapOfLastTwo(const Graph& g, Value v) {
  const NodeId n = ProducedBy(g, v, ops::kTranspose);
  if (!n.valid()) return {};
  const int rank = g.shape(v).rank();
  if (rank < 2) return {};
  const auto& axes = g.attr<std::vector<int64_t>>(n, 0);
  if (axes.empty()) return rank == 2 ? n : NodeId{};
  for (int i = 0; i < rank; ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
    const int expected = i == rank - 1 ? rank - 2 : i == rank - 2 ? rank - 1 : i;
    if (axis != expected) return {};
  }
  return n;
}

// a -> transpose -> matmul(., b)  =>  matmul(a, b) with transpose_a the other way
bool OperandsOf(Graph& g, NodeId n) {
  bool changed = false;
  for (const int i : {MatmulAttr::kTransposeA, MatmulAttr::kTransposeB}) {
    const NodeId t = SwapOfLastTwo(g, g.operand(n, i));
    if (!t.valid()) continue;
    g.SetAttr(n, i, !g.attr<bool>(n, i));
    g.SetOperand(n, i, g.operand(t, 0));
    changed = true;
  }
  return changed;
}

// matmul(a, b) -> transpose  =>  matmul(b, a) with both flags the other way
bool ResultOf(Graph& g, NodeId n) {
  const NodeId t = SwapOfLastTwo(g, g.result(n));
  if (!t.valid()) return false;
  const Value product = g.operand(t, 0);
  const NodeId m = ProducedBy(g, product, ops::kMatmul);
  if (!m.valid() || g.num_uses(product) != 1 || g.is_output(product)) return false;
  const Value swapped[] = {g.operand(m, 1), g.operand(m, 0)};
  const NodeId made = g.AddNode(
      ops::kMatmul, swapped,
      {!g.attr<bool>(m, MatmulAttr::kTransposeB), !g.attr<bool>(m, MatmulAttr::kTransposeA)},
      g.location(m), t);
  g.ReplaceAllUses(g.result(t), g.result(made));
  return true;
}

}  // namespace

bool FoldTransposes(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (graph.is(n, ops::kMatmul)) {
      changed |= OperandsOf(graph, n);
    } else if (graph.is(n, ops::kTranspose) && IsUsed(graph, graph.result(n))) {
      changed |= ResultOf(graph, n);
    }
  }
  return changed;
}

}  // namespace ostria
