// SPDX-License-Identifier: Apache-2.0
// outer_gradients: the gradient of a weight from one example is an outer product. The update and
// the check for infinities multiply its two vectors while they read them, so a batch of 1 does not
// write a gradient as large as the weight and read it twice.
#include <vector>

#include "ops/common/attr_index.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;
using ops::MatmulAttr;

// Below, short rows and one more small step cost what the traffic saves.
constexpr int64_t kFewestElements = 1 << 14, kShortestRow = 64;

struct Factors {
  Value column, row;
};

// matmul with inner size 1, as a column and a row
bool IsOuter(const Graph& g, NodeId n, Factors* out) {
  if (!g.is(n, ops::kMatmul)) return false;
  const Value a = g.operand(n, 0), b = g.operand(n, 1);
  const Shape& y = g.shape(g.result(n));
  if (y.rank() != 2 || g.shape(a).rank() != 2 || g.shape(b).rank() != 2) return false;
  const int inner = g.attr<bool>(n, MatmulAttr::kTransposeA) ? 0 : 1;
  if (!(g.shape(a)[inner] == Dim(1))) return false;
  *out = {a, b};
  return y.numel() >= kFewestElements && y[1].value() >= kShortestRow;
}

// Where gradients stand among the operands of a node that can take factors; count 0 for others.
struct Range {
  int begin = 0, count = 0;
};
Range GradientsOf(const Graph& g, NodeId n) {
  if (g.is(n, ops::kAllFinite)) return {0, g.num_operands(n)};
  const OpDef& op = g.op(n);
  if (op.traits.mirror_gradient < 0 || op.attrs.back().name != ops::kOuterRows.name) return {};
  if (ops::IsLazy(op, g.attrs(n))) return {};  // it must see whether a row of its gradient is zero
  const int count = VariadicCount(op, g.num_operands(n));
  return {op.traits.mirror_gradient * count, count};
}

// Whether every reader of `v` can take factors instead.
bool ReadersAgree(const Graph& g, Value v) {
  if (g.is_output(v) || g.num_uses(v) == 0) return false;
  bool updates = false;
  for (const Use& use : g.uses(v)) {
    const Range range = GradientsOf(g, use.user);
    if (use.operand < range.begin || use.operand >= range.begin + range.count) return false;
    updates |= !g.is(use.user, ops::kAllFinite);
  }
  return updates;
}

// a [1, m], b [1, n] -> matmul {transpose_a} -> adam_update(w, ., …)
//   =>  concat(a, b) [m + n] -> adam_update(w, ., …) {outer = [m]}
void Replace(Graph& g, NodeId n, const Factors& f) {
  const Value product = g.result(n);
  const int64_t rows = g.shape(product)[0].value();
  const auto flat = [&](Value v) {
    return g.result(
        g.AddNode(ops::kReshape, std::vector{v}, {Shape{g.shape(v).numel()}}, g.location(n), n));
  };
  const Value parts[] = {flat(f.column), flat(f.row)};
  const Value vectors = g.result(g.AddNode(ops::kConcat, parts, {int64_t{0}}, g.location(n), n));
  for (const Use& use : g.uses(product)) {
    const Range range = GradientsOf(g, use.user);
    const int attr = static_cast<int>(g.attrs(use.user).size()) - 1;
    Ints outer = g.attr<Ints>(use.user, attr);
    outer.resize(static_cast<size_t>(range.count));
    outer[static_cast<size_t>(use.operand - range.begin)] = rows;
    g.SetAttr(use.user, attr, outer);
    g.SetOperand(use.user, use.operand, vectors);
  }
}

}  // namespace

bool OuterGradients(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    Factors factors;
    if (!IsOuter(graph, n, &factors) || !ReadersAgree(graph, graph.result(n))) continue;
    Replace(graph, n, factors);
    changed = true;
  }
  return changed;
}

}  // namespace ostria
