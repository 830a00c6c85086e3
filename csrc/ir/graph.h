// SPDX-License-Identifier: Apache-2.0
// Graph: nodes in an arena, addressed by id, in a list that is their order; values with use lists.
// Pure SSA: a variable is read as a state value `in` and written by naming a state value `out`.
// Invariant (checked by Verify): a value is defined before every use; types agree with infer.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/attr.h"
#include "ir/location.h"
#include "ir/op_def.h"

namespace ostria {

struct Value {
  int32_t id = -1;
  constexpr bool valid() const { return id >= 0; }
  friend constexpr bool operator==(Value, Value) = default;
};
struct NodeId {
  int32_t id = -1;
  constexpr bool valid() const { return id >= 0; }
  friend constexpr bool operator==(NodeId, NodeId) = default;
};

struct Use {
  NodeId user;
  int32_t operand;
};

/// One variable as a graph sees it. `out == in` means it is only read.
struct StateEntry {
  int64_t variable = 0;  // the Variable's process-wide id; text carries the name alone
  std::string name;
  Value in, out;
};

class Graph {
 public:
  Graph() = default;
  Graph(Graph&&) = default;
  Graph& operator=(Graph&&) = default;
  Graph(const Graph&) = delete;
  /// Same ids, so Values of this graph are valid in the copy.
  Graph Clone() const;

  // --- Building -------------------------------------------------------------------------------
  /// A value that the caller of the graph provides. Kept in order.
  Value AddInput(std::string name, const ValueType& type, LocationId location);
  /// The value a variable has when the graph starts.
  Value AddState(int64_t variable, std::string name, const ValueType& type, LocationId location);
  /// Appends (or inserts before `before`) a node; infers its outputs; throws Error with `location`.
  NodeId AddNode(const OpDef& op, std::span<const Value> inputs, std::vector<Attr> attrs,
                 LocationId location, NodeId before = {});
  /// As AddNode, but with known output types (parser, Specialise): the verifier compares them
  /// later.
  NodeId AddTypedNode(const OpDef& op, std::span<const Value> inputs, std::vector<Attr> attrs,
                      std::span<const ValueType> outputs, LocationId location, NodeId before = {});
  void AddOutput(std::string name, Value value);

  // --- Interface ------------------------------------------------------------------------------
  std::span<const Value> inputs() const { return inputs_; }
  std::span<const Value> outputs() const { return outputs_; }
  const std::string& input_name(int i) const { return input_names_[i]; }
  const std::string& output_name(int i) const { return output_names_[i]; }
  void SetOutput(int i, Value value);
  void RemoveOutput(int i);
  std::span<const StateEntry> state() const { return state_; }
  void SetStateOut(int i, Value value);

  // --- Nodes (in list order) ------------------------------------------------------------------
  NodeId first() const { return first_; }
  NodeId last() const { return last_; }
  NodeId next(NodeId n) const { return nodes_[n.id].next; }
  NodeId previous(NodeId n) const { return nodes_[n.id].previous; }
  int num_nodes() const { return live_nodes_; }
  /// One past the largest node id ever used: the size of side tables.
  int node_capacity() const { return static_cast<int>(nodes_.size()); }
  int value_capacity() const { return static_cast<int>(values_.size()); }

  const OpDef& op(NodeId n) const { return *nodes_[n.id].op; }
  bool is(NodeId n, const OpDef& op) const { return nodes_[n.id].op == &op; }
  std::span<const Attr> attrs(NodeId n) const { return nodes_[n.id].attrs; }
  template <class T>
  const T& attr(NodeId n, int i) const {
    return std::get<T>(nodes_[n.id].attrs[i]);
  }
  void SetAttr(NodeId n, int i, Attr attr) { nodes_[n.id].attrs[i] = std::move(attr); }
  LocationId location(NodeId n) const { return nodes_[n.id].location; }
  int num_operands(NodeId n) const { return nodes_[n.id].num_operands; }
  Value operand(NodeId n, int i) const { return operands_[nodes_[n.id].first_operand + i].value; }
  std::vector<Value> operands(NodeId n) const;
  int num_results(NodeId n) const { return nodes_[n.id].num_results; }
  Value result(NodeId n, int i = 0) const { return Value{nodes_[n.id].first_result + i}; }
  bool is_live(NodeId n) const { return nodes_[n.id].op != nullptr; }

  // --- Values ---------------------------------------------------------------------------------
  const ValueType& type(Value v) const { return values_[v.id].type; }
  DType dtype(Value v) const { return values_[v.id].type.dtype; }
  const Shape& shape(Value v) const { return values_[v.id].type.shape; }
  /// The defining node; invalid for inputs and state.
  NodeId producer(Value v) const { return values_[v.id].producer; }
  int result_index(Value v) const { return v.id - nodes_[producer(v).id].first_result; }
  int num_uses(Value v) const { return values_[v.id].num_uses; }
  std::vector<Use> uses(Value v) const;
  /// Whether v is a graph output or the out value of a state entry.
  bool is_output(Value v) const { return ends_.contains(v.id); }
  LocationId location(Value v) const { return values_[v.id].location; }

  // --- Rewriting ------------------------------------------------------------------------------
  /// Every use of `from`, in nodes, outputs and state, becomes `to`. Types must be equal.
  void ReplaceAllUses(Value from, Value to);
  void SetOperand(NodeId n, int i, Value v);
  /// The node must have no uses left; its values become invalid.
  void Erase(NodeId n);
  void MoveBefore(NodeId n, NodeId before);

 private:
  friend class GraphVerifier;
  struct OperandSlot {
    Value value;
    NodeId user;
    int32_t previous_use = -1, next_use = -1;
  };
  struct Node {
    const OpDef* op = nullptr;  // nullptr: erased
    std::vector<Attr> attrs;
    int32_t first_operand = 0, num_operands = 0;
    int32_t first_result = 0, num_results = 0;
    NodeId previous, next;
    LocationId location = 0;
  };
  struct ValueData {
    ValueType type;
    NodeId producer;
    int32_t first_use = -1, num_uses = 0;
    LocationId location = 0;
  };

  Value NewValue(const ValueType& type, NodeId producer, LocationId location);
  void Link(int32_t slot, Value v);
  void Unlink(int32_t slot);
  void MoveEnd(int32_t end, Value from, Value to);
  void Insert(NodeId n, NodeId before);
  void Detach(NodeId n);

  std::vector<Node> nodes_;
  std::vector<ValueData> values_;
  std::vector<OperandSlot> operands_;
  std::vector<Value> inputs_, outputs_;
  std::vector<std::string> input_names_, output_names_;
  std::vector<StateEntry> state_;
  // The outputs (i) and state entries (~i) that name a value: a graph may have thousands of them.
  std::unordered_multimap<int32_t, int32_t> ends_;
  NodeId first_, last_;
  int live_nodes_ = 0;
};

/// The types of what `op` gives for these inputs; throws Error (op's name in front, no location).
void InferTypes(const OpDef& op, std::span<const ValueType> inputs, std::span<const Attr> attrs,
                std::vector<ValueType>* outputs);

/// Throws Error(kInternal) that names the first broken node, with `stage` in the message.
void Verify(const Graph& graph, std::string_view stage);
/// Whether Verify runs after every stage: OSTRIA_VERIFY=1 or a test asked for it.
bool VerifyEnabled();
void SetVerifyEnabled(bool on);

/// Operations of one execution of the node, counted as FlopsFn says; 0 while a size is a symbol.
double Flops(const Graph& graph, NodeId n);

/// The graph text, first line `ostria-graph 1`. Locations and variable ids are left out.
std::string Print(const Graph& graph);
/// Reads Print's form: Print(Parse(Print(g))) == Print(g). Throws Error(kInvalidArgument) with line
/// and column; bounded in depth and size, so hostile text is safe.
Graph Parse(std::string_view text);

/// A copy with symbols replaced and every type inferred anew.
Graph Specialise(const Graph& graph, const Binding& binding);

/// Copies the nodes of `body` into `graph` before `before` (at the end when invalid), its inputs
/// bound to `arguments`; returns the values of its outputs. Locations become Derive(location, note)
/// when `note` is given, else the body's own.
std::vector<Value> Inline(Graph& graph, const Graph& body, std::span<const Value> arguments,
                          NodeId before, LocationId location, std::string_view note = {});

}  // namespace ostria
