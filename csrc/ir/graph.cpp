// SPDX-License-Identifier: Apache-2.0
#include "ir/graph.h"

#include "base/check.h"

namespace ostria {

Graph Graph::Clone() const {
  Graph g;
  g.nodes_ = nodes_;
  g.values_ = values_;
  g.operands_ = operands_;
  g.inputs_ = inputs_;
  g.outputs_ = outputs_;
  g.input_names_ = input_names_;
  g.output_names_ = output_names_;
  g.state_ = state_;
  g.ends_ = ends_;
  g.first_ = first_;
  g.last_ = last_;
  g.live_nodes_ = live_nodes_;
  return g;
}

Value Graph::NewValue(const ValueType& type, NodeId producer, LocationId location) {
  values_.push_back({type, producer, -1, 0, location});
  return Value{static_cast<int32_t>(values_.size() - 1)};
}

Value Graph::AddInput(std::string name, const ValueType& type, LocationId location) {
  inputs_.push_back(NewValue(type, {}, location));
  input_names_.push_back(std::move(name));
  return inputs_.back();
}

Value Graph::AddState(int64_t variable, std::string name, const ValueType& type,
                      LocationId location) {
  const Value v = NewValue(type, {}, location);
  ends_.emplace(v.id, ~static_cast<int32_t>(state_.size()));
  state_.push_back({variable, std::move(name), v, v});
  return v;
}

void Graph::AddOutput(std::string name, Value value) {
  ends_.emplace(value.id, static_cast<int32_t>(outputs_.size()));
  outputs_.push_back(value);
  output_names_.push_back(std::move(name));
}

void Graph::MoveEnd(int32_t end, Value from, Value to) {
  auto [it, last] = ends_.equal_range(from.id);
  while (it != last && it->second != end) ++it;
  OSTRIA_CHECK(it != last, "end ", end, " of value ", from.id);
  ends_.erase(it);
  if (to.valid()) ends_.emplace(to.id, end);
}

void Graph::SetOutput(int i, Value value) {
  MoveEnd(i, outputs_[i], value);
  outputs_[i] = value;
}

void Graph::RemoveOutput(int i) {
  MoveEnd(i, outputs_[i], {});
  for (int j = i + 1; j < static_cast<int>(outputs_.size()); ++j) {
    MoveEnd(j, outputs_[j], {});
    ends_.emplace(outputs_[j].id, j - 1);
  }
  outputs_.erase(outputs_.begin() + i);
  output_names_.erase(output_names_.begin() + i);
}

void Graph::SetStateOut(int i, Value value) {
  OSTRIA_CHECK(type(value) == type(state_[i].in), state_[i].name, ": ", type(value));
  MoveEnd(~i, state_[i].out, value);
  state_[i].out = value;
}

void Graph::Link(int32_t slot, Value v) {
  OperandSlot& s = operands_[slot];
  ValueData& data = values_[v.id];
  s.value = v;
  s.previous_use = -1;
  s.next_use = data.first_use;
  if (data.first_use >= 0) operands_[data.first_use].previous_use = slot;
  data.first_use = slot;
  ++data.num_uses;
}

void Graph::Unlink(int32_t slot) {
  OperandSlot& s = operands_[slot];
  ValueData& data = values_[s.value.id];
  if (s.previous_use >= 0)
    operands_[s.previous_use].next_use = s.next_use;
  else
    data.first_use = s.next_use;
  if (s.next_use >= 0) operands_[s.next_use].previous_use = s.previous_use;
  --data.num_uses;
}

void Graph::Insert(NodeId n, NodeId before) {
  Node& node = nodes_[n.id];
  node.next = before;
  node.previous = before.valid() ? nodes_[before.id].previous : last_;
  if (node.previous.valid())
    nodes_[node.previous.id].next = n;
  else
    first_ = n;
  if (before.valid())
    nodes_[before.id].previous = n;
  else
    last_ = n;
}

void Graph::Detach(NodeId n) {
  const Node& node = nodes_[n.id];
  if (node.previous.valid())
    nodes_[node.previous.id].next = node.next;
  else
    first_ = node.next;
  if (node.next.valid())
    nodes_[node.next.id].previous = node.previous;
  else
    last_ = node.previous;
}

NodeId Graph::AddTypedNode(const OpDef& op, std::span<const Value> inputs, std::vector<Attr> attrs,
                           std::span<const ValueType> outputs, LocationId location, NodeId before) {
  const NodeId n{static_cast<int32_t>(nodes_.size())};
  Node& node = nodes_.emplace_back();
  node.op = &op;
  node.attrs = std::move(attrs);
  node.location = location;
  node.first_operand = static_cast<int32_t>(operands_.size());
  node.num_operands = static_cast<int32_t>(inputs.size());
  node.first_result = static_cast<int32_t>(values_.size());
  node.num_results = static_cast<int32_t>(outputs.size());
  for (Value v : inputs) {
    operands_.push_back({v, n});
    Link(static_cast<int32_t>(operands_.size() - 1), v);
  }
  for (const ValueType& type : outputs) NewValue(type, n, location);
  Insert(n, before);
  ++live_nodes_;
  return n;
}

NodeId Graph::AddNode(const OpDef& op, std::span<const Value> inputs, std::vector<Attr> attrs,
                      LocationId location, NodeId before) {
  thread_local std::vector<ValueType> in, out;  // kept: 10,000 nodes cost no allocation here
  in.clear();
  out.clear();
  for (Value v : inputs) in.push_back(values_[v.id].type);
  while (attrs.size() < op.attrs.size()) {
    attrs.push_back(DefaultAttr(op, static_cast<int>(attrs.size())));
  }
  try {
    InferTypes(op, in, attrs, &out);
  } catch (Error& e) {
    throw e.At(ShortLocation(location));
  }
  return AddTypedNode(op, inputs, std::move(attrs), out, location, before);
}

std::vector<Value> Graph::operands(NodeId n) const {
  std::vector<Value> out(static_cast<size_t>(num_operands(n)));
  for (int i = 0; i < num_operands(n); ++i) out[i] = operand(n, i);
  return out;
}

std::vector<Use> Graph::uses(Value v) const {
  std::vector<Use> out;
  out.reserve(static_cast<size_t>(num_uses(v)));
  for (int32_t s = values_[v.id].first_use; s >= 0; s = operands_[s].next_use) {
    const NodeId user = operands_[s].user;
    out.push_back({user, s - nodes_[user.id].first_operand});
  }
  return out;
}

void Graph::ReplaceAllUses(Value from, Value to) {
  if (from == to) return;
  OSTRIA_CHECK(type(from) == type(to), type(from), " replaced by ", type(to));
  while (values_[from.id].first_use >= 0) {
    const int32_t slot = values_[from.id].first_use;
    Unlink(slot);
    Link(slot, to);
  }
  const auto [begin, end] = ends_.equal_range(from.id);
  std::vector<int32_t> moved;
  for (auto it = begin; it != end; ++it) moved.push_back(it->second);
  ends_.erase(begin, end);
  for (const int32_t e : moved) {
    (e >= 0 ? outputs_[e] : state_[~e].out) = to;
    ends_.emplace(to.id, e);
  }
}

void Graph::SetOperand(NodeId n, int i, Value v) {
  const int32_t slot = nodes_[n.id].first_operand + i;
  Unlink(slot);
  Link(slot, v);
}

void Graph::Erase(NodeId n) {
  Node& node = nodes_[n.id];
  for (int i = 0; i < node.num_results; ++i) {
    const Value v = result(n, i);
    OSTRIA_CHECK(num_uses(v) == 0 && !is_output(v), node.op->name, " is still used");
  }
  for (int i = 0; i < node.num_operands; ++i) Unlink(node.first_operand + i);
  Detach(n);
  node.op = nullptr;
  node.attrs.clear();
  --live_nodes_;
}

void Graph::MoveBefore(NodeId n, NodeId before) {
  if (n == before) return;
  Detach(n);
  Insert(n, before);
}

}  // namespace ostria
