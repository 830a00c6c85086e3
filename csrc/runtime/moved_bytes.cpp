// SPDX-License-Identifier: Apache-2.0
#include "runtime/moved_bytes.h"

#include <algorithm>
#include <vector>

#include "ir/bytes.h"
#include "ops/common/attr_index.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

bool IsUpdate(const Graph& g, NodeId n) { return g.op(n).traits.mirror_gradient >= 0; }

// The steps of its bodies touch its operands and results, and are counted where they are.
bool RunsBodies(const Graph& g, NodeId n) {
  if (g.is(n, ops::kFused)) return false;
  const std::span<const Attr> attrs = g.attrs(n);
  return std::any_of(attrs.begin(), attrs.end(),
                     [](const Attr& a) { return std::holds_alternative<Body>(a); });
}

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

// Of part `i` of a gather_concat: of a table the rows that its indices, the next part, name.
int64_t GatheredBytes(const Graph& g, NodeId n, int i) {
  const Value v = g.operand(n, i);
  int part = 0;
  for (int64_t is_gather : g.attr<Ints>(n, ops::GatherConcatAttr::kGathers)) {
    if (part == i && is_gather != 0 && g.shape(v)[0].value() > 0) {
      const int64_t row = Bytes(g, v) / g.shape(v)[0].value();
      return std::min(Bytes(g, v), g.shape(g.operand(n, i + 1)).numel() * row);
    }
    part += is_gather != 0 ? 2 : 1;
  }
  return Bytes(g, v);
}

// Of operand `i` of a sum_rows: of values of which it takes columns only those.
int64_t SummedBytes(const Graph& g, NodeId n, int i) {
  const Value v = g.operand(n, i);
  const auto& columns = g.attr<Ints>(n, ops::SumRowsAttr::kColumns);
  const int list = i - g.num_operands(n) / 2;
  if (list < 0 || columns.empty() || columns[2 * list + 1] < 0) return Bytes(g, v);
  const Shape& shape = g.shape(v);
  const int64_t all = shape[shape.rank() - 1].value();
  return all == 0 ? 0 : Bytes(g, v) / all * columns[2 * list + 1];
}

}  // namespace

int64_t ReadBytes(const Graph& g, NodeId n, int i) {
  const Value v = g.operand(n, i);
  if (RunsBodies(g, n)) return 0;
  if (g.is(n, ops::kSlice)) return Bytes(g, g.result(n));
  if (g.is(n, ops::kGather) && i == 0) return std::min(Bytes(g, v), Bytes(g.type(g.result(n, 0))));
  if (g.is(n, ops::kGatherConcat)) return GatheredBytes(g, n, i);
  if (g.is(n, ops::kSumRows)) return SummedBytes(g, n, i);
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
  if (RunsBodies(g, n)) return 0;
  return IsUpdate(g, n) ? UpdatedBytes(g, n, v, i) : Bytes(g, v);
}

}  // namespace ostria
