// SPDX-License-Identifier: Apache-2.0
// join_slice_grads: the gradient of a value that was cut into parts along an axis is the parts'
// gradients behind each other, not the sum of as many tensors of zeros with one part each.
#include <algorithm>

#include "ops/common/slice.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

struct Part {
  Value g;
  int64_t start = 0, size = 0;
};

// Where slice_grad puts `g`: a range of one axis, in order, and all of the others.
std::optional<Part> PartOf(const Graph& g, NodeId n, int* axis) {
  enum Attribute { kShape, kStart, kStop, kStep };
  using Ints = std::vector<int64_t>;
  const Shape& shape = g.shape(g.result(n));
  const Ints &start = g.attr<Ints>(n, kStart), &stop = g.attr<Ints>(n, kStop),
             &step = g.attr<Ints>(n, kStep);
  Part part{.g = g.operand(n, 0)};
  bool found = false;
  for (int d = 0; d < shape.rank(); ++d) {
    const auto i = static_cast<size_t>(d);
    const int64_t size = shape[d].value(), by = step.empty() ? 1 : step[i];
    const ops::SliceRange range = ops::ResolveSlice(size, start[i], stop[i], by);
    if (range.size == size && by == 1) continue;
    if (by != 1 || found) return std::nullopt;
    found = true;
    *axis = d;
    part.start = range.start;
    part.size = range.size;
  }
  return found ? std::optional(part) : std::nullopt;
}

// The terms of the sum that `v` is, whose partial sums nobody else reads.
void Terms(const Graph& g, Value v, std::vector<NodeId>* out) {
  const NodeId n = g.producer(v);
  out->push_back(n);
  if (!n.valid() || !g.is(n, ops::kAdd)) return;
  if (g.type(g.operand(n, 0)) != g.type(v) || g.type(g.operand(n, 1)) != g.type(v)) return;
  out->pop_back();
  for (int i = 0; i < 2; ++i) {
    const Value term = g.operand(n, i);
    if (OnlyUser(g, term).valid()) {
      Terms(g, term, out);
    } else {
      out->push_back({});
    }
  }
}

// slice_grad(a, 0:2) + slice_grad(b, 2:5)  =>  concat(a, b), where the axis has 5 places
bool Rewrite(Graph& g, NodeId n) {
  for (int i = 0; i < 2; ++i) {  // a long sum of other things is not walked for each of its terms
    const NodeId term = g.producer(g.operand(n, i));
    if (!term.valid() || !(g.is(term, ops::kAdd) || g.is(term, ops::kSliceGrad))) return false;
  }
  std::vector<NodeId> terms;
  Terms(g, g.result(n), &terms);
  if (terms.size() < 2) return false;
  std::vector<Part> parts;
  int axis = -1;
  for (const NodeId term : terms) {
    if (!term.valid() || !g.is(term, ops::kSliceGrad)) return false;
    int along = -1;
    const std::optional<Part> part = PartOf(g, term, &along);
    if (!part || (axis >= 0 && along != axis)) return false;
    axis = along;
    parts.push_back(*part);
  }
  std::sort(parts.begin(), parts.end(),
            [](const Part& a, const Part& b) { return a.start < b.start; });
  int64_t at = 0;
  std::vector<Value> values;
  for (const Part& part : parts) {
    if (part.start != at) return false;
    at += part.size;
    values.push_back(part.g);
  }
  if (at != g.shape(g.result(n))[axis].value()) return false;
  const NodeId joined = g.AddNode(ops::kConcat, values, {int64_t{axis}}, g.location(n), n);
  g.ReplaceAllUses(g.result(n), g.result(joined));
  return true;
}

}  // namespace

bool JoinSliceGrads(Graph& graph, const PassContext&) {
  bool changed = false;
  // From behind, so that a sum is seen before the sums that it is made of.
  for (NodeId n = graph.last(); n.valid(); n = graph.previous(n)) {
    if (!graph.is(n, ops::kAdd) || !IsUsed(graph, graph.result(n))) continue;
    changed |= Rewrite(graph, n);
  }
  return changed;
}

}  // namespace ostria
