// SPDX-License-Identifier: Apache-2.0
// Trace: a graph under construction by a Python function. Traces nest in a thread-local stack. A
// tape is a trace that also runs every op at once, so the same autodiff serves both.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "bindings/py_tensor.h"
#include "ir/builder.h"
#include "passes/mixed_precision.h"
#include "runtime/state_store.h"

namespace ostria {

class Trace : public std::enable_shared_from_this<Trace> {
 public:
  enum class Kind { kGraph, kTape, kBody };
  /// How a body has state: as a captured tensor, or as cells that the op which owns it carries.
  enum class State { kCaptured, kRead, kWritten };
  explicit Trace(Kind kind, State state = State::kCaptured);

  /// The innermost open trace of this thread, or nullptr.
  static Trace* Current();
  void Push();
  /// Closes the trace: its values are of no use afterwards. Must be the innermost one.
  void Pop();
  bool open() const { return open_; }
  Kind kind() const { return kind_; }
  Graph& graph() { return graph_; }

  /// `source`: what the input of a body stands for, where the precision policy should know it.
  PyTensor AddInput(std::string name, const ValueType& type, const PyTensor* source = nullptr);
  /// The variable's current value in this trace; the first read makes it a state input (in a body:
  /// an operand of the node that will own the body).
  Value Read(const std::shared_ptr<Variable>& variable);
  /// Each replica holds a part of this variable alone, and that is what is read and assigned:
  /// before the first read of it. Throws Error when it was read whole.
  void Divide(const std::shared_ptr<Variable>& variable, const Parts& parts);
  /// The same in the order of variables().
  std::vector<Parts> parts() const;
  /// The variable's value as it was when the trace began.
  Value Initial(const std::shared_ptr<Variable>& variable);
  /// Every value that the variable had so far, the initial one first. A write is no step of
  /// differentiation, so a derivative by the variable is the sum of those by each of them.
  std::vector<Value> Versions(const std::shared_ptr<Variable>& variable);
  /// From now on the variable has this value; a refused step restores the one it began with.
  void Assign(const std::shared_ptr<Variable>& variable, Value value);
  /// The same for a value that already is the variable's present one where `commit` is false: it
  /// is selected once more only if the step is decided by something else in the end.
  void AssignDecided(const std::shared_ptr<Variable>& variable, Value value, Value commit);
  /// The same for a value that outlives a refused step too, such as a counter of refused steps.
  void AssignAlways(const std::shared_ptr<Variable>& variable, Value value);
  /// Any tensor as a value of this trace: concrete ones and those of outer traces become inputs. A
  /// tape takes over the nodes of a tape inside it, so that its gradients can be differentiated.
  Value Use(const PyTensor& tensor);
  /// The value, through which no derivative flows.
  Value Constant(Value value);
  /// Whether an op on the tensor belongs into this trace; it is run at once where that is so of
  /// none of its operands.
  bool Records(const PyTensor& tensor) const;
  /// What decides whether the step changes any state, a bool scalar; the last one counts. A body
  /// that may write begins with what was decided around it; invalid where nothing decides.
  void SetCommit(Value commit);
  Value Commit();

  /// What a body that may write was given of the state around it, and what it leaves of that.
  struct Cell {
    std::shared_ptr<Variable> variable;  // null: the decision of the step
    int capture = 0;                     // which of captures() holds it at the beginning
    Value before;                        // the same as an input of the body
    Value after;                         // invalid where the body only reads
    bool always = false;
  };
  const std::vector<Cell>& cells() const { return cells_; }

  /// What the forward nodes compute in from now on: float16 or bfloat16.
  void SetPrecision(DType low) { precision_ = std::make_unique<MixedPrecision>(low); }
  /// Rewrites the forward nodes so far; before they are differentiated.
  void ApplyPrecision();
  /// The function is traced: what was not differentiated is rewritten too, and the trace around a
  /// body is told what was. Once.
  void EndPrecision();
  /// Differentiation is done: its nodes stay as they are.
  void SkipPrecision() {
    if (precision_ != nullptr) precision_->Skip(graph_);
  }
  const MixedPrecision* precision() const { return precision_.get(); }

  PyTensor Wrap(Value value);
  /// Appends a node; on a tape also runs it. Returns its results.
  std::vector<PyTensor> AddOp(const OpDef& op, const std::vector<Value>& inputs,
                              std::vector<Attr> attrs, LocationId location);
  /// Tape only: runs the nodes from `from` to the end, which autodiff appended.
  void RunFrom(NodeId from);
  /// Tape only: the data of a value.
  Tensor Data(Value v);

  /// Puts every write under the final commit predicate; then the graph's state entries are final.
  void FinishState();

  const std::vector<std::shared_ptr<Variable>>& variables() const { return variables_; }
  const std::vector<PyTensor>& captures() const { return captures_; }

  pybind11::dict scratch;  // Python's own notes: draw counters, callbacks

 private:
  struct Entry {
    int index = 0;  // among the graph's states; of a body among cells_
    Value current;
    Value decided_by;  // where this commit is false, `current` is the value at the beginning
    bool always = false;
    std::vector<Value> written;
  };
  void PinLike(Value input, const PyTensor& source);
  Entry& Write(const std::shared_ptr<Variable>& variable, Value value);
  ValueType TypeOf(const Variable& variable) const;
  void RequireWrites(const Variable& variable) const;
  /// The trace around this one, while it is open.
  Trace* Around() const;
  Value Capture(const PyTensor& tensor, std::string name);
  Value AddCapture(const PyTensor& tensor, std::string name);
  Value AddCell(std::shared_ptr<Variable> variable, const PyTensor& before, std::string name);
  bool IsAround(const Trace& trace) const;
  Value Import(const PyTensor& tensor);

  Kind kind_;
  State body_state_;
  std::shared_ptr<Trace> parent_;  // open around this one when it was opened
  bool open_ = false;
  Graph graph_;
  std::vector<std::shared_ptr<Variable>> variables_;
  std::unordered_map<int64_t, Entry> state_;
  std::unordered_map<int64_t, Parts> divided_;
  std::vector<Cell> cells_;
  std::vector<PyTensor> captures_;
  std::unordered_map<const void*, std::vector<std::pair<PyTensor, Value>>> captured_;
  std::vector<Tensor> data_;  // tape: by value id
  struct Imported {
    std::weak_ptr<Trace> trace;
    std::vector<Value> values;  // here, by value id there
  };
  std::unordered_map<const Trace*, Imported> imported_;
  Value commit_;
  std::unique_ptr<MixedPrecision> precision_;
};

/// The user's frames, innermost first: those outside the ostria package and the standard library.
/// Makes no text.
LocationId CaptureLocation();
/// Tells CaptureLocation which folders those are, and the IR how to read frames.
void SetOwnFolders(const std::string& package, const std::string& standard_library);

void BindTrace(pybind11::module_& m);

}  // namespace ostria
