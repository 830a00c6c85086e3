// SPDX-License-Identifier: Apache-2.0
#include "backend/loop_node.h"

#include <vector>

namespace ostria {

Graph BodyOf(const NodeDesc& d) {
  Graph body;
  std::vector<Value> inputs;
  for (const MemDesc& in : d.inputs) {
    inputs.push_back(body.AddInput(StrCat("x", inputs.size()), {in.dtype, in.shape()}, 0));
  }
  const NodeId n = body.AddNode(*d.op, inputs, {d.attrs.begin(), d.attrs.end()}, 0);
  for (int i = 0; i < body.num_results(n); ++i) body.AddOutput("y", body.result(n, i));
  return body;
}

std::string OpNames(const Graph& body) {
  constexpr int kMost = 8;
  std::string out;
  int shown = 0;
  for (NodeId n = body.first(); n.valid(); n = body.next(n)) {
    if (body.num_operands(n) == 0 || body.op(n).traits.view) continue;
    if (shown++ < kMost) out += StrCat(out.empty() ? "" : " ", body.op(n).name);
  }
  return shown > kMost ? StrCat(out, " and ", shown - kMost, " more") : out;
}

}  // namespace ostria
