// SPDX-License-Identifier: Apache-2.0
#include "runtime/moved_bytes.h"

#include <algorithm>

#include "ir/bytes.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {
namespace {

bool IsUpdate(const Graph& g, NodeId n) { return g.op(n).traits.mirror_gradient >= 0; }

// Of a weight or slot that an update touches; `at` is its place in the operands or results, which
// are groups of as many tensors as there are variables.
int64_t UpdatedBytes(const Graph& g, NodeId n, Value v, int at) {
  const OpDef& op = g.op(n);
  const int count = VariadicCount(op, g.num_operands(n)), variable = at % count;
  const ops::Segments segments(ops::FormOf(op), g.attrs(n));
  if (segments.outer_rows(variable) != ops::kByRows) return Bytes(g, v);
  const Value rows = g.operand(n, op.traits.mirror_gradient * count + variable);
  return std::min(Bytes(g, v), g.shape(rows).numel() * SizeOf(g.type(v).dtype));
}

}  // namespace

int64_t ReadBytes(const Graph& g, NodeId n, int i) {
  const Value v = g.operand(n, i);
  if (g.is(n, ops::kGather) && i == 0) return std::min(Bytes(g, v), Bytes(g.type(g.result(n, 0))));
  if (IsUpdate(g, n)) {
    const int count = VariadicCount(g.op(n), g.num_operands(n));
    const int group = i / count;
    if (group < ops::FormOf(g.op(n)).groups && group != g.op(n).traits.mirror_gradient)
      return UpdatedBytes(g, n, v, i);
  }
  return Bytes(g, v);
}
int64_t WrittenBytes(const Graph& g, NodeId n, int i) {
  const Value v = g.result(n, i);
  return IsUpdate(g, n) ? UpdatedBytes(g, n, v, i) : Bytes(g, v);
}

}  // namespace ostria
