// SPDX-License-Identifier: Apache-2.0
// Counting floating-point operations from what the ops declare.
#include <vector>

#include "ir/graph.h"

namespace ostria {

double Flops(const Graph& graph, NodeId n) {
  const OpDef& op = graph.op(n);
  std::vector<ValueType> inputs, outputs;
  for (Value v : graph.operands(n)) inputs.push_back(graph.type(v));
  for (int i = 0; i < graph.num_results(n); ++i) outputs.push_back(graph.type(graph.result(n, i)));
  for (const auto* types : {&inputs, &outputs}) {
    for (const ValueType& t : *types) {
      if (!t.shape.is_static()) return 0;
    }
  }
  if (op.flops != nullptr) return op.flops(inputs, outputs, graph.attrs(n));
  if (op.traits.elementwise) return static_cast<double>(outputs[0].shape.numel());
  // A node that only calls its first body costs what the body does.
  for (const Attr& a : graph.attrs(n)) {
    if (const Body* body = std::get_if<Body>(&a); body != nullptr && *body != nullptr) {
      double sum = 0;
      for (NodeId m = (*body)->first(); m.valid(); m = (*body)->next(m)) sum += Flops(**body, m);
      return sum;
    }
  }
  return 0;
}

}  // namespace ostria
