// SPDX-License-Identifier: Apache-2.0
// pack_attention: where one product gives queries, keys and values side by side, attention reads
// them there, and its gradient writes theirs where the product's gradient reads it.
#include "ops/common/attention.h"
#include "ops/common/slice.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

enum GradOperand { kG, kY, kLse, kQ, kK, kV };

// Columns of the rows of `x`.
struct Columns {
  Value x;
  int64_t start = 0, size = 0;
};

// What `v` is a view of.
Value Viewed(const Graph& g, Value v) {
  for (NodeId n = g.producer(v); n.valid() && IsView(g, n); n = g.producer(v)) {
    v = g.operand(n, 0);
  }
  return v;
}

std::optional<Columns> ColumnsOf(const Graph& g, Value v) {
  v = Viewed(g, v);
  const int last = g.shape(v).rank() - 1;
  if (const std::optional<AxisSlice> s = SliceOf(g, v)) {
    return s->axis == last ? std::optional(Columns{s->x, s->start, s->size}) : std::nullopt;
  }
  enum Attribute { kStart, kStop, kStep };
  using Ints = std::vector<int64_t>;
  const NodeId n = ProducedBy(g, v, ops::kSlice);
  if (!n.valid()) return std::nullopt;
  Columns out{.x = g.operand(n, 0)};
  for (int d = 0; d <= last; ++d) {
    const auto i = static_cast<size_t>(d);
    const Ints& step = g.attr<Ints>(n, kStep);
    const int64_t by = step.empty() ? 1 : step[i], size = g.shape(out.x)[d].value();
    const ops::SliceRange range =
        ops::ResolveSlice(size, g.attr<Ints>(n, kStart)[i], g.attr<Ints>(n, kStop)[i], by);
    if (by != 1 || (d < last && range.size != size)) return std::nullopt;
    out.start = range.start;
    out.size = range.size;
  }
  return out;
}

// The attributes of the packed op, where q, k and v, from operand `first` on, are all of the rows
// of `*qkv` and nothing else takes part.
std::optional<std::vector<Attr>> Packed(const Graph& g, NodeId n, int first, Value* qkv) {
  using ops::AttentionAttr;
  const bool grad = first > 0;
  if (g.num_operands(n) != first + 3 || g.attr<double>(n, AttentionAttr::kDropout) != 0) {
    return std::nullopt;
  }
  if (grad && g.attr<bool>(n, AttentionAttr::kLseGrad)) return std::nullopt;
  int64_t at = 0;
  for (int i = first; i < first + 3; ++i) {
    const std::optional<Columns> c = ColumnsOf(g, g.operand(n, i));
    const Shape& shape = g.shape(g.operand(n, i));
    if (!c || (i > first && c->x != *qkv) || c->start != at) return std::nullopt;
    // Every row of columns is a row of heads.
    if (shape[2].value() * shape[3].value() != c->size) return std::nullopt;
    at += c->size;
    *qkv = c->x;
  }
  const Shape &q = g.shape(g.operand(n, first)), &k = g.shape(g.operand(n, first + 1)),
              &v = g.shape(g.operand(n, first + 2)), &x = g.shape(*qkv);
  if (at != x[x.rank() - 1].value() || k != v || q[1] != k[1] || q[3] != k[3]) return std::nullopt;
  return std::vector<Attr>{g.attrs(n)[AttentionAttr::kCausal], g.attrs(n)[AttentionAttr::kScale],
                           q[2].value(), k[2].value()};
}

Value Reshaped(Graph& g, NodeId n, Value x, const Shape& shape) {
  if (g.shape(x) == shape) return x;
  return g.result(g.AddNode(ops::kReshape, std::vector<Value>{x}, {shape}, g.location(n), n));
}

// [batch, length, all columns]
Shape RowsOf(const Graph& g, Value q, Value qkv) {
  const Shape &s = g.shape(q), &x = g.shape(qkv);
  return {s[0], s[1], x[x.rank() - 1]};
}

// x -> slices -> attention  =>  x -> attention_packed
bool Forward(Graph& g, const PassContext& context, NodeId n) {
  Value qkv;
  const std::optional<std::vector<Attr>> attrs = Packed(g, n, 0, &qkv);
  if (!attrs) return false;
  const std::vector<Value> operands = {Reshaped(g, n, qkv, RowsOf(g, g.operand(n, 0), qkv))};
  if (!HasKernel(context, g, ops::kAttentionPacked, *attrs, operands)) return false;
  const NodeId made = g.AddNode(ops::kAttentionPacked, operands, *attrs, g.location(n), n);
  for (int i = 0; i < 2; ++i) g.ReplaceAllUses(g.result(n, i), g.result(made, i));
  return true;
}

// The node that alone reads `v`, or views of it.
NodeId OnlyReader(const Graph& g, Value v) {
  while (g.num_uses(v) == 1 && !g.is_output(v)) {
    const NodeId n = g.uses(v)[0].user;
    if (!IsView(g, n)) return n;
    v = g.result(n);
  }
  return {};
}

// attention_grad(.., slices of x) -> concat(dq, dk, dv)  =>  attention_packed_grad(.., x)
bool Backward(Graph& g, const PassContext& context, NodeId n) {
  Value qkv;
  const std::optional<std::vector<Attr>> attrs = Packed(g, n, kQ, &qkv);
  if (!attrs) return false;
  const NodeId concat = OnlyReader(g, g.result(n, 0));
  if (!concat.valid() || !g.is(concat, ops::kConcat) || g.num_operands(concat) != 3) return false;
  const Value joined = g.result(concat);
  if (g.type(joined) != g.type(qkv)) return false;
  const auto axis = static_cast<int>(g.attr<int64_t>(concat, 0)), rank = g.shape(joined).rank();
  if ((axis < 0 ? axis + rank : axis) != rank - 1) return false;
  for (int i = 0; i < 3; ++i) {
    if (Viewed(g, g.operand(concat, i)) != g.result(n, i) ||
        OnlyReader(g, g.result(n, i)) != concat) {
      return false;
    }
  }
  const std::vector<Value> operands = {g.operand(n, kG), g.operand(n, kY), g.operand(n, kLse),
                                       Reshaped(g, concat, qkv, RowsOf(g, g.operand(n, kQ), qkv))};
  if (!HasKernel(context, g, ops::kAttentionPackedGrad, *attrs, operands)) return false;
  const NodeId made = g.AddNode(ops::kAttentionPackedGrad, operands, *attrs, g.location(n), concat);
  g.ReplaceAllUses(joined, Reshaped(g, concat, g.result(made), g.shape(joined)));
  return true;
}

}  // namespace

bool PackAttention(Graph& graph, const PassContext& context) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    const bool forward = graph.is(n, ops::kAttention);
    if ((!forward && !graph.is(n, ops::kAttentionGrad)) || !IsUsed(graph, graph.result(n)))
      continue;
    changed |= forward ? Forward(graph, context, n) : Backward(graph, context, n);
  }
  return changed;
}

}  // namespace ostria
