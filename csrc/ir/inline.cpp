// SPDX-License-Identifier: Apache-2.0
// Inline: the nodes of a closed body become nodes of the graph that calls it.
#include "base/check.h"
#include "ir/graph.h"

namespace ostria {

std::vector<Value> Inline(Graph& graph, const Graph& body, std::span<const Value> arguments,
                          NodeId before, LocationId location, std::string_view note) {
  OSTRIA_CHECK(arguments.size() == body.inputs().size(), arguments.size(), " arguments for ",
               body.inputs().size(), " inputs");
  OSTRIA_CHECK(body.state().empty(), body.state()[0].name);
  std::vector<Value> map(static_cast<size_t>(body.value_capacity()));
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Value input = body.inputs()[i];
    OSTRIA_CHECK(body.type(input) == graph.type(arguments[i]), "input ", i, " is ",
                 body.type(input), ", argument ", graph.type(arguments[i]));
    map[input.id] = arguments[i];
  }
  const LocationId derived = note.empty() ? 0 : Derive(location, note);
  std::vector<Value> operands;
  std::vector<ValueType> types;
  for (NodeId n = body.first(); n.valid(); n = body.next(n)) {
    operands.clear();
    types.clear();
    for (int i = 0; i < body.num_operands(n); ++i) operands.push_back(map[body.operand(n, i).id]);
    for (int i = 0; i < body.num_results(n); ++i) types.push_back(body.type(body.result(n, i)));
    const std::span<const Attr> attrs = body.attrs(n);
    const NodeId m = graph.AddTypedNode(body.op(n), operands, {attrs.begin(), attrs.end()}, types,
                                        note.empty() ? body.location(n) : derived, before);
    for (int i = 0; i < body.num_results(n); ++i) map[body.result(n, i).id] = graph.result(m, i);
  }
  std::vector<Value> outputs;
  for (const Value v : body.outputs()) outputs.push_back(map[v.id]);
  return outputs;
}

}  // namespace ostria
