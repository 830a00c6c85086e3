// SPDX-License-Identifier: Apache-2.0
#include "bindings/trace.h"

#include "base/check.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "runtime/eager.h"

namespace ostria {
namespace {

std::vector<std::shared_ptr<Trace>>& Stack() {
  thread_local std::vector<std::shared_ptr<Trace>> stack;
  return stack;
}

}  // namespace

Trace::Trace(Kind kind, State state) : kind_(kind), body_state_(state) {}

Trace* Trace::Current() { return Stack().empty() ? nullptr : Stack().back().get(); }

void Trace::Push() {
  OSTRIA_CHECK(!open_);
  open_ = true;
  parent_ = Stack().empty() ? nullptr : Stack().back();
  if (kind_ == Kind::kBody && parent_ != nullptr && parent_->precision_ != nullptr) {
    SetPrecision(parent_->precision_->low());
  }
  Stack().push_back(shared_from_this());
}

void Trace::Pop() {
  if (!open_) return;
  OSTRIA_CHECK(Current() == this, "traces closed out of order");
  open_ = false;
  Stack().pop_back();
  scratch = pybind11::dict();  // it may hold values, and each value holds its trace
}

PyTensor Trace::Wrap(Value value) {
  PyTensor t;
  t.trace = shared_from_this();
  t.value = value;
  t.type = graph_.type(value);
  if (kind_ == Kind::kTape) t.concrete = Data(value);
  return t;
}

PyTensor Trace::AddInput(std::string name, const ValueType& type, const PyTensor* source) {
  const Value v = graph_.AddInput(std::move(name), type, CaptureLocation());
  if (source != nullptr) PinLike(v, *source);
  return Wrap(v);
}

// What the user cast outside of a body stays so inside.
void Trace::PinLike(Value input, const PyTensor& source) {
  Trace* other = source.trace.get();
  if (precision_ == nullptr || other == nullptr || other->precision_ == nullptr) return;
  if (other->precision_->Pins(other->graph_, other->precision_->Now(source.value))) {
    precision_->AddPinned(input);
  }
}

Value Trace::Capture(const PyTensor& tensor, std::string name) {
  // Equal tensors are one input: the same buffer, or the same value of an outer trace.
  const void* key = tensor.has_data() ? static_cast<const void*>(tensor.concrete.raw())
                                      : static_cast<const void*>(tensor.trace.get());
  auto& seen = captured_[key];
  for (const auto& [other, value] : seen) {
    if (other.type == tensor.type && other.value == tensor.value) return value;
  }
  const Value v = AddCapture(tensor, std::move(name));
  seen.emplace_back(tensor, v);
  if (kind_ == Kind::kTape) {
    data_.resize(static_cast<size_t>(graph_.value_capacity()));
    data_[v.id] = tensor.concrete;
  }
  return v;
}

Value Trace::AddCapture(const PyTensor& tensor, std::string name) {
  const Value v = graph_.AddInput(std::move(name), tensor.type, CaptureLocation());
  captures_.push_back(tensor);
  PinLike(v, tensor);
  return v;
}

// An input of its own, even where an equal tensor is captured: a loop carries this one on.
Value Trace::AddCell(std::shared_ptr<Variable> variable, const PyTensor& before, std::string name) {
  Cell cell;
  cell.variable = std::move(variable);
  cell.capture = static_cast<int>(captures_.size());
  cell.before = AddCapture(before, std::move(name));
  cells_.push_back(std::move(cell));
  return cells_.back().before;
}

Trace* Trace::Around() const {
  auto& stack = Stack();
  for (size_t i = stack.size(); i-- > 1;) {
    if (stack[i].get() == this) return stack[i - 1].get();
  }
  return nullptr;
}

Value Trace::Use(const PyTensor& tensor) {
  if (tensor.trace.get() == this) {
    return precision_ == nullptr ? tensor.value : precision_->Now(tensor.value);
  }
  if (tensor.trace != nullptr && IsAround(*tensor.trace)) return Import(tensor);
  if (!tensor.has_data()) {
    if (!tensor.trace->open()) FailLeaked(tensor, "");
    if (kind_ != Kind::kBody) {
      Fail(ErrorCode::kInvalidArgument, "a value of an outer trace (", tensor.type,
           ") is used inside a function that is traced on its own; pass it as an argument");
    }
  }
  return Capture(tensor, StrCat("capture_", captures_.size()));
}

// Of tapes only: a tape takes part in what a tape inside it records.
bool Trace::IsAround(const Trace& trace) const {
  if (kind_ != Kind::kTape || trace.kind_ != Kind::kTape) return false;
  for (const Trace* t = trace.parent_.get(); t != nullptr; t = t->parent_.get()) {
    if (t == this) return true;
  }
  return false;
}

bool Trace::Records(const PyTensor& tensor) const {
  const Trace* other = tensor.trace.get();
  if (other == nullptr) return false;
  if (other == this || !tensor.has_data() || IsAround(*other) || other->IsAround(*this)) {
    return true;
  }
  // A body takes part in what the tape around it records.
  for (const Trace* t = kind_ == Kind::kBody ? parent_.get() : nullptr; t != nullptr;
       t = t->parent_.get()) {
    if (t == other) return true;
  }
  return false;
}

// Copies the nodes that the value was computed by, with their results; what was copied before, by
// an earlier call, is found again.
Value Trace::Import(const PyTensor& tensor) {
  Trace& inner = *tensor.trace;
  Graph& g = inner.graph_;
  Imported& done = imported_[&inner];
  if (done.trace.expired()) done = {tensor.trace, {}};  // the address may have been another one's
  done.values.resize(static_cast<size_t>(g.value_capacity()));
  std::vector<bool> needed(done.values.size());
  std::vector<Value> open = {tensor.value};
  while (!open.empty()) {
    const Value v = open.back();
    open.pop_back();
    if (needed[v.id] || done.values[v.id].valid()) continue;
    needed[v.id] = true;
    if (const NodeId n = g.producer(v); n.valid()) {
      for (Value operand : g.operands(n)) open.push_back(operand);
    }
  }
  for (size_t i = 0; i < g.inputs().size(); ++i) {
    const Value v = g.inputs()[i];
    if (needed[v.id]) done.values[v.id] = Use(inner.captures_[i]);
  }
  for (size_t i = 0; i < g.state().size(); ++i) {
    const Value v = g.state()[i].in;
    if (needed[v.id]) done.values[v.id] = Read(inner.variables_[i]);
  }
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    bool wanted = false;
    std::vector<ValueType> types;
    for (int i = 0; i < g.num_results(n); ++i) {
      wanted |= needed[g.result(n, i).id];
      types.push_back(g.type(g.result(n, i)));
    }
    if (!wanted) continue;
    std::vector<Value> operands;
    for (Value v : g.operands(n)) operands.push_back(done.values[v.id]);
    const std::span<const Attr> attrs = g.attrs(n);
    const NodeId copy =
        graph_.AddTypedNode(g.op(n), operands, {attrs.begin(), attrs.end()}, types, g.location(n));
    data_.resize(static_cast<size_t>(graph_.value_capacity()));
    for (int i = 0; i < g.num_results(n); ++i) {
      done.values[g.result(n, i).id] = graph_.result(copy, i);
      data_[graph_.result(copy, i).id] = inner.Data(g.result(n, i));
    }
  }
  return done.values[tensor.value.id];
}

Value Trace::Read(const std::shared_ptr<Variable>& variable) {
  const auto it = state_.find(variable->id());
  if (it != state_.end()) return it->second.current;
  const ValueType type = TypeOf(*variable);
  if (kind_ == Kind::kBody) {  // bodies are closed: the variable's value is an operand
    Trace* outer = Around();
    const PyTensor before = outer != nullptr ? outer->Wrap(outer->Read(variable))
                                             : PyTensor::Concrete(variable->View());
    const bool cell = body_state_ != State::kCaptured;
    const Value v =
        cell ? AddCell(variable, before, variable->name()) : Capture(before, variable->name());
    if (precision_ != nullptr) precision_->AddFree(v);
    if (cell) state_[variable->id()] = {static_cast<int>(cells_.size()) - 1, v};
    return v;
  }
  const Value v = graph_.AddState(variable->id(), variable->name(), type, CaptureLocation());
  state_[variable->id()] = {.index = static_cast<int>(variables_.size()), .current = v};
  variables_.push_back(variable);
  if (kind_ == Kind::kTape) {
    data_.resize(static_cast<size_t>(graph_.value_capacity()));
    data_[v.id] = variable->Copy();
  }
  return v;
}

ValueType Trace::TypeOf(const Variable& variable) const {
  for (const Trace* t = this; t != nullptr; t = t->parent_.get()) {
    const auto it = t->divided_.find(variable.id());
    if (it == t->divided_.end()) continue;
    return {variable.dtype(), {it->second.SizeOf(variable.shape().numel())}};
  }
  return {variable.dtype(), variable.shape()};
}

void Trace::Divide(const std::shared_ptr<Variable>& variable, const Parts& parts) {
  Trace* root = this;
  while (root->kind_ == Kind::kBody && root->parent_ != nullptr) root = root->parent_.get();
  if (root->divided_.contains(variable->id())) return;
  if (root->state_.contains(variable->id())) {
    Fail(ErrorCode::kInvalidArgument, "variable '", variable->name(),
         "' is read before the optimizer's step, but each replica holds a part of it alone "
         "(shard_optimizer_state); read it outside of the step, where its value is whole");
  }
  root->divided_[variable->id()] = parts;
}

std::vector<Parts> Trace::parts() const {
  std::vector<Parts> all;
  for (const auto& v : variables_) {
    const auto it = divided_.find(v->id());
    all.push_back(it == divided_.end() ? Parts{} : it->second);
  }
  return all;
}

Value Trace::Initial(const std::shared_ptr<Variable>& variable) {
  const Value current = Read(variable);
  const auto it = state_.find(variable->id());
  if (it == state_.end()) return current;
  const auto index = static_cast<size_t>(it->second.index);
  return kind_ == Kind::kBody ? cells_[index].before : graph_.state()[index].in;
}

std::vector<Value> Trace::Versions(const std::shared_ptr<Variable>& variable) {
  std::vector<Value> all = {Initial(variable)};
  if (const auto it = state_.find(variable->id()); it != state_.end()) {
    all.insert(all.end(), it->second.written.begin(), it->second.written.end());
  }
  return all;
}

void Trace::RequireWrites(const Variable& variable) const {
  for (const Trace* t = this; t != nullptr; t = t->parent_.get()) {
    if (t->kind_ != Kind::kBody || t->body_state_ == State::kWritten) continue;
    Fail(ErrorCode::kInvalidArgument, "variable '", variable.name(),
         "' is assigned inside a function that is traced twice (of custom_gradient) or that only "
         "decides (cond_fn of while_loop); such functions must not change state; return the new "
         "value and assign it outside, or in body_fn");
  }
}

Value Trace::Constant(Value value) {
  const NodeId n = graph_.producer(value);
  if (!IsFloat(graph_.dtype(value)) || (n.valid() && graph_.op(n).grad.zero)) return value;
  const NodeId stop =
      graph_.AddNode(ops::kStopGradient, std::vector{value}, {}, graph_.location(value));
  if (kind_ == Kind::kTape) RunFrom(stop);
  return graph_.result(stop);
}

Trace::Entry& Trace::Write(const std::shared_ptr<Variable>& variable, Value value) {
  RequireWrites(*variable);
  Read(variable);
  Entry& s = state_.at(variable->id());
  const ValueType want = TypeOf(*variable);
  if (graph_.type(value) != want) {
    Fail(ErrorCode::kInvalidArgument, "variable '", variable->name(),
         "': cannot assign a value of ", graph_.type(value), "; it holds ", want,
         "; use cast or reshape first");
  }
  value = Constant(value);
  s.current = value;
  if (kind_ == Kind::kBody) {
    Cell& cell = cells_[static_cast<size_t>(s.index)];
    cell.after = value;
    cell.always = false;
    if (!IsFloat(want.dtype)) return s;
    // Whoever asks for the derivative by the variable sees one value: that of the beginning.
    Builder b(graph_, graph_.location(value));
    s.current = ops::ReadAs(b, value, cell.before);
    return s;
  }
  if (IsFloat(want.dtype)) s.written.push_back(value);
  if (kind_ == Kind::kTape) variable->Assign(Data(value));
  return s;
}

void Trace::Assign(const std::shared_ptr<Variable>& variable, Value value) {
  Entry& s = Write(variable, value);
  s.decided_by = {};
  s.always = false;
}

void Trace::AssignDecided(const std::shared_ptr<Variable>& variable, Value value, Value commit) {
  // A value that came from an earlier write is not the first one where `commit` is false.
  const bool is_first = Read(variable) == Initial(variable);
  Entry& s = Write(variable, value);
  s.decided_by = is_first || s.decided_by == commit ? commit : Value{};
  s.always = false;
}

void Trace::AssignAlways(const std::shared_ptr<Variable>& variable, Value value) {
  Entry& s = Write(variable, value);
  s.always = true;
  if (kind_ == Kind::kBody) cells_[static_cast<size_t>(s.index)].always = true;
}

Value Trace::Commit() {
  if (commit_.valid() || kind_ != Kind::kBody || body_state_ != State::kWritten) return commit_;
  Trace* outer = Around();
  PyTensor before;
  if (outer == nullptr) {
    before = PyTensor::Concrete(Tensor::Scalar(DType::kBool, true));
  } else if (const Value decided = outer->Commit(); decided.valid()) {
    before = outer->Wrap(decided);
  } else {
    before = outer->AddOp(ops::kFull, {}, {Shape{}, DType::kBool, 1.0}, CaptureLocation())[0];
  }
  commit_ = AddCell(nullptr, before, "commit");
  return commit_;
}

void Trace::SetCommit(Value commit) {
  Commit();
  commit_ = commit;
  for (Cell& cell : cells_) {
    if (cell.variable == nullptr) cell.after = commit;
  }
}

void Trace::ApplyPrecision() {
  if (precision_ == nullptr) return;
  precision_->Run(graph_);
  for (auto& [id, s] : state_) {
    s.current = precision_->Now(s.current);
    s.decided_by = precision_->Now(s.decided_by);
    for (Value& v : s.written) v = precision_->Now(v);
  }
  for (Cell& cell : cells_) cell.after = precision_->Now(cell.after);
  commit_ = precision_->Now(commit_);
}

void Trace::EndPrecision() {
  if (precision_ == nullptr) return;
  if (!precision_->skipped()) ApplyPrecision();
  if (kind_ == Kind::kBody) parent_->precision_->Add(precision_->notes());
}

void Trace::FinishState() {
  for (auto& [id, s] : state_) {
    const StateEntry& entry = graph_.state()[static_cast<size_t>(s.index)];
    if (s.current == entry.in) continue;
    Value out = s.current;
    if (commit_.valid() && !s.always && !(s.decided_by == commit_)) {
      Builder b(graph_, graph_.location(out));
      out = b(ops::kWhere, {commit_, out, entry.in});
    }
    graph_.SetStateOut(s.index, out);
  }
}

std::vector<PyTensor> Trace::AddOp(const OpDef& op, const std::vector<Value>& inputs,
                                   std::vector<Attr> attrs, LocationId location) {
  const NodeId n = graph_.AddNode(op, inputs, std::move(attrs), location);
  if (kind_ == Kind::kTape) RunFrom(n);
  std::vector<PyTensor> out;
  out.reserve(static_cast<size_t>(graph_.num_results(n)));
  for (int i = 0; i < graph_.num_results(n); ++i) out.push_back(Wrap(graph_.result(n, i)));
  return out;
}

void Trace::RunFrom(NodeId from) {
  std::vector<Tensor> outputs;
  for (NodeId n = from; n.valid(); n = graph_.next(n)) {
    std::vector<Tensor> inputs;
    for (Value v : graph_.operands(n)) inputs.push_back(Data(v));
    try {
      RunEager(graph_.op(n), inputs, graph_.attrs(n), &outputs);
    } catch (Error& e) {
      throw e.At(ShortLocation(graph_.location(n)));
    }
    data_.resize(static_cast<size_t>(graph_.value_capacity()));
    for (int i = 0; i < graph_.num_results(n); ++i) data_[graph_.result(n, i).id] = outputs[i];
  }
}

Tensor Trace::Data(Value v) {
  OSTRIA_CHECK(static_cast<size_t>(v.id) < data_.size() && data_[v.id].defined());
  return data_[v.id];
}

}  // namespace ostria
