// SPDX-License-Identifier: Apache-2.0
#include "passes/loop_body.h"

#include "ir/builder.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/match.h"

namespace ostria {

Value LoopBody::Import(const Graph& outer, Value v) {
  const ValueType& type = outer.type(v);
  if (const std::optional<double> number = UniformValue(outer, v)) {
    return graph.result(
        graph.AddNode(ops::kFull, {}, {type.shape, type.dtype, *number}, outer.location(v)));
  }
  inputs.push_back(v);
  return graph.AddInput(StrCat("x", graph.inputs().size()), type, outer.location(v));
}

std::vector<Value> LoopBody::Copy(const Graph& outer, NodeId n, std::span<const Value> operands) {
  if (outer.is(n, ops::kFused)) {
    return Inline(graph, *outer.attr<Body>(n, 0), operands, {}, outer.location(n));
  }
  std::vector<ValueType> types;
  for (int i = 0; i < outer.num_results(n); ++i) types.push_back(outer.type(outer.result(n, i)));
  const std::span<const Attr> attrs = outer.attrs(n);
  const NodeId copy = graph.AddTypedNode(outer.op(n), operands, {attrs.begin(), attrs.end()}, types,
                                         outer.location(n));
  std::vector<Value> results;
  for (int i = 0; i < graph.num_results(copy); ++i) results.push_back(graph.result(copy, i));
  return results;
}

void LoopBody::AddOutput(Value v) { graph.AddOutput(StrCat("y", graph.outputs().size()), v); }

Graph KeepInputs(const Graph& body, const std::vector<bool>& keep) {
  Graph kept;
  std::vector<Value> arguments(keep.size());
  for (size_t i = 0; i < keep.size(); ++i) {
    const Value v = body.inputs()[i];
    if (!keep[i]) continue;
    arguments[i] =
        kept.AddInput(body.input_name(static_cast<int>(i)), body.type(v), body.location(v));
  }
  // Inline wants a value of the right type for every input; no node reads these.
  for (size_t i = 0; i < keep.size(); ++i) {
    const Value v = body.inputs()[i];
    if (keep[i]) continue;
    const ValueType& type = body.type(v);
    arguments[i] =
        kept.result(kept.AddNode(ops::kFull, {}, {type.shape, type.dtype, 0.0}, body.location(v)));
  }
  const std::vector<Value> results = Inline(kept, body, arguments, {}, LocationId{0});
  for (size_t i = 0; i < results.size(); ++i) {
    kept.AddOutput(body.output_name(static_cast<int>(i)), results[i]);
  }
  ops::DropDead(kept);
  return kept;
}

}  // namespace ostria
