// SPDX-License-Identifier: Apache-2.0
// Counting operations: what an op declares, one per element where it is elementwise, else what its
// decomposition takes. FlopsFn (ir/op_def.h) says what counts.
#include <vector>

#include "ir/builder.h"

namespace ostria {
namespace {

// A decomposition may come back to its own op, which then has a kernel; nothing of ours is deeper.
constexpr int kDeepest = 16;

using Types = std::vector<ValueType>;

bool AllStatic(const Types& types) {
  for (const ValueType& t : types) {
    if (!t.shape.is_static()) return false;
  }
  return true;
}

bool AnyEmpty(const Types& types) {
  for (const ValueType& t : types) {
    if (t.shape.numel() == 0) return true;
  }
  return false;
}

// Nothing runs for an empty result, and a constant stands for the node where an input is empty.
bool NothingRuns(const OpDef& op, const Types& inputs, const Types& outputs) {
  bool any = false;
  for (const ValueType& t : outputs) any |= t.shape.numel() != 0;
  return !any || (op.on_empty != OnEmpty::kRun && AnyEmpty(inputs));
}

double Count(const Graph& graph, NodeId n, int depth);

double CountDecomposition(const OpDef& op, const Types& inputs, std::span<const Attr> attrs,
                          int depth) {
  Graph graph;
  std::vector<Value> operands;
  for (const ValueType& t : inputs) operands.push_back(graph.AddInput("", t, {}));
  Builder b(graph, {});
  op.decompose(b, operands, attrs);
  double sum = 0;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) sum += Count(graph, n, depth);
  return sum;
}

double Count(const Graph& graph, NodeId n, int depth) {
  const OpDef& op = graph.op(n);
  Types inputs, outputs;
  for (Value v : graph.operands(n)) inputs.push_back(graph.type(v));
  for (int i = 0; i < graph.num_results(n); ++i) outputs.push_back(graph.type(graph.result(n, i)));
  if (!AllStatic(inputs) || !AllStatic(outputs) || NothingRuns(op, inputs, outputs)) return 0;
  if (op.flops != nullptr) return op.flops(inputs, outputs, graph.attrs(n));
  if (op.traits.elementwise) return static_cast<double>(outputs[0].shape.numel());
  if (op.decompose == nullptr || depth == kDeepest) return 0;
  return CountDecomposition(op, inputs, graph.attrs(n), depth + 1);
}

}  // namespace

double Flops(const Graph& graph, NodeId n) { return Count(graph, n, 0); }

}  // namespace ostria
