// SPDX-License-Identifier: Apache-2.0
// join_gathers: rows of tables go straight to where a concat wants them, so a model that has a
// table for each column runs as one that has a single table for all.
//
//   w0, ids0 -> gather -\                     w0, ids0 -\          .
//   w1, ids1 -> gather --> concat   =>   w1, ids1 --> gather_concat
//   x ------------------/                            x -/
#include <vector>

#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

// The gather that `v` shows the rows of, if the concat along `axis` is all that reads it and joins
// no pieces of rows; `indices`: their shape then.
NodeId JoinedGather(const Graph& g, Value v, int axis, Shape* indices) {
  const Shape shape = g.shape(v);
  NodeId n = g.producer(v);
  while (n.valid() && g.num_uses(v) == 1 && !g.is_output(v) && IsView(g, n)) {
    v = g.operand(n, 0);
    n = g.producer(v);
  }
  if (!n.valid() || !g.is(n, ops::kGather) || g.num_uses(v) != 1 || g.is_output(v)) return {};
  const Shape& table = g.shape(g.operand(n, 0));
  const int row = table.rank() - 1, rank = shape.rank() - row;
  if (g.attr<int64_t>(n, 0) != 0 && g.attr<int64_t>(n, 0) != -table.rank()) return {};
  if (axis > rank) return {};
  for (int i = 0; i < row; ++i) {
    if (!(shape[rank + i] == table[1 + i])) return {};
  }
  *indices = {};
  for (int i = 0; i < rank; ++i) indices->Append(shape[i]);
  return n;
}

bool Join(Graph& g, NodeId n) {
  const Shape& shape = g.shape(g.result(n));
  const int64_t given = g.attr<int64_t>(n, 0);
  const int64_t axis = given < 0 ? given + shape.rank() : given;
  std::vector<Value> parts;
  std::vector<int64_t> gathers;
  std::vector<LocationId> locations;
  bool any = false;
  for (const Value v : g.operands(n)) {
    Shape indices;
    const NodeId gather = JoinedGather(g, v, static_cast<int>(axis), &indices);
    gathers.push_back(gather.valid() ? 1 : 0);
    locations.push_back(g.location(gather.valid() ? gather : n));
    if (!gather.valid()) {
      parts.push_back(v);
      continue;
    }
    any = true;
    Value ids = g.operand(gather, 1);
    if (!(g.shape(ids) == indices)) {
      ids = g.result(g.AddNode(ops::kReshape, {&ids, 1}, {indices}, g.location(gather), n));
    }
    parts.push_back(g.operand(gather, 0));
    parts.push_back(ids);
  }
  if (!any) return false;
  const LocationId location = JoinLocations(g.location(n), locations, "rows");
  const NodeId joined = g.AddNode(ops::kGatherConcat, parts, {gathers, axis}, location, n);
  g.ReplaceAllUses(g.result(n), g.result(joined));
  return true;
}

}  // namespace

bool JoinGathers(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (graph.is(n, ops::kConcat) && IsUsed(graph, graph.result(n))) changed |= Join(graph, n);
  }
  return changed;
}

}  // namespace ostria
