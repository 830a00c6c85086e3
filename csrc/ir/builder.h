// SPDX-License-Identifier: Apache-2.0
// Builder: how rules, passes and the trace add nodes: `b(ops::kMul, {x, y})`. Holds the insertion
// point and the location that new nodes get, so no pass can forget to say where a node comes from.
#pragma once

#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "ir/graph.h"

namespace ostria {

class Builder {
 public:
  /// New nodes go before `before`, or at the end when it is invalid.
  Builder(Graph& graph, LocationId location, NodeId before = {})
      : graph_(graph), location_(location), before_(before) {}

  Graph& graph() { return graph_; }
  LocationId location() const { return location_; }
  void set_location(LocationId location) { location_ = location; }
  /// The insertion point; invalid at the end.
  NodeId before() const { return before_; }

  /// The node's first result. Trailing attributes left out take their defaults.
  Value operator()(const OpDef& op, std::initializer_list<Value> inputs,
                   std::vector<Attr> attrs = {}) {
    return graph_.result(Node(op, {inputs.begin(), inputs.size()}, std::move(attrs)));
  }
  Value operator()(const OpDef& op, std::span<const Value> inputs, std::vector<Attr> attrs = {}) {
    return graph_.result(Node(op, inputs, std::move(attrs)));
  }
  /// All results, for ops with several.
  std::vector<Value> Multi(const OpDef& op, std::span<const Value> inputs,
                           std::vector<Attr> attrs = {});
  std::vector<Value> Multi(const OpDef& op, std::initializer_list<Value> inputs,
                           std::vector<Attr> attrs = {}) {
    return Multi(op, std::span<const Value>(inputs.begin(), inputs.size()), std::move(attrs));
  }
  NodeId Node(const OpDef& op, std::span<const Value> inputs, std::vector<Attr> attrs = {});

  const ValueType& type(Value v) const { return graph_.type(v); }
  const Shape& shape(Value v) const { return graph_.shape(v); }
  DType dtype(Value v) const { return graph_.dtype(v); }

 private:
  Graph& graph_;
  LocationId location_;
  NodeId before_;
};

}  // namespace ostria
