// SPDX-License-Identifier: Apache-2.0
// Specialise: symbols become integers in a fresh graph; every node is inferred anew, so a shape
// that the binding makes impossible is an error with the user's line.
#include <unordered_map>

#include "ir/graph.h"

namespace ostria {
namespace {

using BodyMap = std::unordered_map<const Graph*, Body>;  // a body used twice stays one body

Graph Copy(const Graph& graph, const Binding& binding, BodyMap& bodies);

Attr Copy(const Attr& attr, const Binding& binding, BodyMap& bodies) {
  if (const Shape* shape = std::get_if<Shape>(&attr)) return Substitute(*shape, binding);
  const Body* body = std::get_if<Body>(&attr);
  if (body == nullptr || *body == nullptr) return attr;
  const auto it = bodies.find(body->get());
  if (it != bodies.end()) return it->second;
  auto copy = std::make_shared<Graph>(Copy(**body, binding, bodies));
  return bodies.emplace(body->get(), std::move(copy)).first->second;
}

Graph Copy(const Graph& graph, const Binding& binding, BodyMap& bodies) {
  Graph out;
  std::vector<Value> map(static_cast<size_t>(graph.value_capacity()));
  const auto type = [&](Value v) {
    return ValueType{graph.dtype(v), Substitute(graph.shape(v), binding)};
  };
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const Value v = graph.inputs()[i];
    map[v.id] = out.AddInput(graph.input_name(static_cast<int>(i)), type(v), graph.location(v));
  }
  for (const StateEntry& s : graph.state()) {
    map[s.in.id] = out.AddState(s.variable, s.name, type(s.in), graph.location(s.in));
  }
  std::vector<Value> operands;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    operands.clear();
    for (int i = 0; i < graph.num_operands(n); ++i) operands.push_back(map[graph.operand(n, i).id]);
    std::vector<Attr> attrs;
    attrs.reserve(graph.attrs(n).size());
    for (const Attr& a : graph.attrs(n)) attrs.push_back(Copy(a, binding, bodies));
    const NodeId m = out.AddNode(graph.op(n), operands, std::move(attrs), graph.location(n));
    for (int i = 0; i < graph.num_results(n); ++i) map[graph.result(n, i).id] = out.result(m, i);
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    out.AddOutput(graph.output_name(static_cast<int>(i)), map[graph.outputs()[i].id]);
  }
  for (size_t i = 0; i < graph.state().size(); ++i) {
    out.SetStateOut(static_cast<int>(i), map[graph.state()[i].out.id]);
  }
  return out;
}

}  // namespace

Graph Specialise(const Graph& graph, const Binding& binding) {
  BodyMap bodies;
  return Copy(graph, binding, bodies);
}

}  // namespace ostria
