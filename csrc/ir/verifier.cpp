// SPDX-License-Identifier: Apache-2.0
// Checks everything that the rest of the house takes for granted about a graph: the node list, use
// lists, definition before use, types equal to what infer says, state, outputs, closed bodies.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "ir/graph.h"

namespace ostria {

class GraphVerifier {
 public:
  GraphVerifier(const Graph& graph, std::string_view stage, int depth)
      : g_(graph), stage_(stage), depth_(depth), defined_(graph.values_.size(), 0) {}

  void Run() {
    if (depth_ > 64) Bad("bodies are nested deeper than 64");
    Interface();
    Nodes();
    Uses();
    Ends();
  }

 private:
  template <class... Args>
  [[noreturn]] void Bad(const Args&... why) const {
    Fail(ErrorCode::kInternal, "internal error, please report: the graph is broken after ", stage_,
         depth_ > 0 ? " (in a body)" : "", ": ", why...);
  }
  template <class... Args>
  [[noreturn]] void BadNode(NodeId n, const Args&... why) const {
    const Graph::Node& node = g_.nodes_[n.id];
    const std::string where = ShortLocation(node.location);
    Bad("node ", n.id, " (", node.op == nullptr ? "erased" : node.op->name,
        where.empty() ? "" : ", from ", where, "): ", why...);
  }
  bool InRange(Value v) const {
    return v.id >= 0 && v.id < static_cast<int32_t>(g_.values_.size());
  }
  void Define(Value v, std::string_view what) {
    if (!InRange(v)) Bad(what, " names no value");
    if (defined_[v.id]) Bad(what, " is defined twice (value ", v.id, ")");
    defined_[v.id] = 1;
  }

  void Interface() {
    if (g_.inputs_.size() != g_.input_names_.size()) Bad("inputs and their names differ in number");
    if (g_.outputs_.size() != g_.output_names_.size())
      Bad("outputs and their names differ in number");
    if (depth_ > 0 && !g_.state_.empty()) Bad("a body has state of its own: ", g_.state_[0].name);
    for (const Value v : g_.inputs_) {
      Define(v, "an input");
      if (g_.values_[v.id].producer.valid()) Bad("an input is also the result of a node");
    }
    for (const StateEntry& s : g_.state_) {
      Define(s.in, s.name);
      if (g_.values_[s.in.id].producer.valid()) Bad("state ", s.name, " starts as a node's result");
    }
  }

  void Nodes() {
    int count = 0;
    NodeId previous;
    for (NodeId n = g_.first_; n.valid(); n = g_.nodes_[n.id].next) {
      if (n.id >= g_.node_capacity()) Bad("the node list leaves the arena");
      const Graph::Node& node = g_.nodes_[n.id];
      if (node.op == nullptr) BadNode(n, "is erased, but in the list");
      if (node.previous != previous) BadNode(n, "has a wrong predecessor");
      if (++count > g_.live_nodes_) Bad("the list holds more nodes than the graph has");
      Node(n, node);
      previous = n;
    }
    if (g_.last_ != previous) Bad("the last node is not the list's end");
    if (count != g_.live_nodes_)
      Bad("the list holds ", count, " nodes, the graph ", g_.live_nodes_);
  }

  void Node(NodeId n, const Graph::Node& node) {
    types_.clear();
    inferred_.clear();
    for (int i = 0; i < node.num_operands; ++i) {
      const Graph::OperandSlot& slot = g_.operands_[node.first_operand + i];
      if (slot.user != n) BadNode(n, "operand ", i, " belongs to another node");
      if (!InRange(slot.value)) BadNode(n, "operand ", i, " names no value");
      if (!defined_[slot.value.id]) {
        const NodeId p = g_.values_[slot.value.id].producer;
        BadNode(n, "operand ", i, " (value ", slot.value.id, ", ",
                p.valid() && g_.is_live(p) ? g_.op(p).name : "erased",
                ") is used before it is defined");
      }
      types_.push_back(g_.values_[slot.value.id].type);
      ++operands_;
    }
    for (int i = 0; i < node.num_results; ++i) {
      const Value v{node.first_result + i};
      Define(v, node.op->name);
      if (g_.values_[v.id].producer != n) BadNode(n, "result ", i, " has another producer");
    }
    Attrs(n, node);
    try {
      InferTypes(*node.op, types_, node.attrs, &inferred_);
    } catch (const Error& e) {
      BadNode(n, "infer refuses it: ", e.message());
    }
    if (static_cast<int>(inferred_.size()) != node.num_results) {
      BadNode(n, "has ", node.num_results, " results, infer gives ", inferred_.size());
    }
    for (int i = 0; i < node.num_results; ++i) {
      const ValueType& type = g_.values_[node.first_result + i].type;
      if (type != inferred_[i]) {
        BadNode(n, "result ", i, " is ", type, ", infer gives ", inferred_[i]);
      }
    }
  }

  void Attrs(NodeId n, const Graph::Node& node) {
    if (node.attrs.size() != node.op->attrs.size()) {
      BadNode(n, "has ", node.attrs.size(), " attributes instead of ", node.op->attrs.size());
    }
    for (size_t i = 0; i < node.attrs.size(); ++i) {
      if (TypeOf(node.attrs[i]) != node.op->attrs[i].type) {
        BadNode(n, "attribute '", node.op->attrs[i].name, "' is of type ",
                Name(TypeOf(node.attrs[i])));
      }
      const Body* body = std::get_if<Body>(&node.attrs[i]);
      if (body != nullptr && *body != nullptr) GraphVerifier(**body, stage_, depth_ + 1).Run();
    }
  }

  void Uses() {
    int64_t linked = 0;
    for (size_t id = 0; id < g_.values_.size(); ++id) {
      if (!defined_[id]) continue;
      const Graph::ValueData& data = g_.values_[id];
      int32_t count = 0, previous = -1;
      for (int32_t s = data.first_use; s >= 0; s = g_.operands_[s].next_use) {
        const Graph::OperandSlot& slot = g_.operands_[s];
        if (slot.value.id != static_cast<int32_t>(id) || slot.previous_use != previous ||
            !g_.is_live(slot.user)) {
          Bad("the use list of value ", id, " is broken at use ", count);
        }
        if (++count > data.num_uses) break;
        previous = s;
      }
      if (count != data.num_uses) {
        Bad("value ", id, " counts ", data.num_uses, " uses, its list holds ", count);
      }
      linked += count;
    }
    if (linked != operands_) Bad("use lists hold ", linked, " uses, nodes have ", operands_);
  }

  void Ends() {
    for (size_t i = 0; i < g_.outputs_.size(); ++i) {
      const Value v = g_.outputs_[i];
      if (!InRange(v) || !defined_[v.id]) Bad("output '", g_.output_names_[i], "' is not defined");
      if (!g_.is_output(v)) Bad("output '", g_.output_names_[i], "' is not among the ends");
    }
    for (const StateEntry& s : g_.state_) {
      if (!InRange(s.out) || !defined_[s.out.id]) Bad("the update of ", s.name, " is not defined");
      if (g_.type(s.out) != g_.type(s.in)) {
        Bad("state ", s.name, " of type ", g_.type(s.in), " becomes ", g_.type(s.out));
      }
      if (!g_.is_output(s.out)) Bad("the update of ", s.name, " is not among the ends");
    }
    if (g_.ends_.size() != g_.outputs_.size() + g_.state_.size()) {
      Bad(g_.ends_.size(), " ends, but ", g_.outputs_.size(), " outputs and ", g_.state_.size(),
          " state entries");
    }
  }

  const Graph& g_;
  std::string_view stage_;
  int depth_;
  std::vector<uint8_t> defined_;
  std::vector<ValueType> types_, inferred_;
  int64_t operands_ = 0;
};

void Verify(const Graph& graph, std::string_view stage) { GraphVerifier(graph, stage, 0).Run(); }

namespace {

std::atomic<bool>& Enabled() {
  static std::atomic<bool> enabled = [] {
    const char* text = std::getenv("OSTRIA_VERIFY");
    return text != nullptr && *text != '\0' && std::strcmp(text, "0") != 0;
  }();
  return enabled;
}

}  // namespace

bool VerifyEnabled() { return Enabled().load(std::memory_order_relaxed); }
void SetVerifyEnabled(bool on) { Enabled().store(on, std::memory_order_relaxed); }

}  // namespace ostria
