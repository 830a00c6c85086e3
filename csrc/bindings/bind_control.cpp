// SPDX-License-Identifier: Apache-2.0
// Control ops for Python: bodies from finished traces. What a body closed over becomes operands in
// front of the given ones; without an outer trace the op runs at once. A Variable that a body
// writes becomes a further carry of a loop, or a further result of cond or a checkpoint:
//   scan(x; v.assign(v + x))  =>  v' = scan(capture v, carry v, x; v + x), then v is v'
// _control.py and _checkpoint.py drive it.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/bindings.h"
#include "bindings/call_op.h"
#include "bindings/py_tensor.h"
#include "bindings/trace.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "runtime/eager.h"

namespace py = pybind11;

namespace ostria {
namespace {

using Traced = std::pair<std::shared_ptr<Trace>, std::vector<PyTensor>>;  // a body and its results

// What all bodies closed over, each value once.
class Captures {
 public:
  explicit Captures(Trace* outer) : outer_(outer) {}
  int Add(const PyTensor& t) {
    const Value v = outer_ == nullptr ? Value{} : outer_->Use(t);
    for (size_t i = 0; i < tensors_.size(); ++i) {
      const bool same = outer_ != nullptr ? values_[i] == v
                                          : tensors_[i].concrete.raw() == t.concrete.raw() &&
                                                tensors_[i].type == t.type;
      if (same) return static_cast<int>(i);
    }
    tensors_.push_back(t);
    values_.push_back(v);
    return static_cast<int>(tensors_.size()) - 1;
  }
  const std::vector<PyTensor>& tensors() const { return tensors_; }

 private:
  Trace* outer_;
  std::vector<PyTensor> tensors_;
  std::vector<Value> values_;
};

// State that some body writes: a variable, or (null) the decision of the step.
struct Written {
  std::shared_ptr<Variable> variable;
  PyTensor before;
  bool always = false;
  int slot = 0;  // of `before` among the captures
};

// What the bodies write, in the order of their writes, and where each body's captures lie.
class Bodies {
 public:
  Bodies(Trace* outer, const py::list& bodies) : captures_(outer) {
    for (py::handle item : bodies) {
      const auto pair = py::reinterpret_borrow<py::tuple>(item);
      Traced t{pair[0].cast<std::shared_ptr<Trace>>(), {}};
      t.first->EndPrecision();
      for (py::handle y : pair[1]) t.second.push_back(*AsPyTensor(y.ptr()));
      std::vector<int>& own = slots_.emplace_back();
      for (const PyTensor& c : t.first->captures()) own.push_back(captures_.Add(c));
      for (const Trace::Cell& cell : t.first->cells()) {
        if (!cell.after.valid()) continue;
        const auto same = [&](const Written& w) { return w.variable == cell.variable; };
        auto at = std::find_if(written_.begin(), written_.end(), same);
        if (at == written_.end()) {
          const auto capture = static_cast<size_t>(cell.capture);
          written_.push_back({cell.variable, t.first->captures()[capture], false, own[capture]});
          at = written_.end() - 1;
        }
        at->always |= cell.always;
      }
      traced_.push_back(std::move(t));
    }
  }

  const std::vector<PyTensor>& captures() const { return captures_.tensors(); }
  const std::vector<Written>& written() const { return written_; }
  /// Whether no body gives anything.
  bool empty() const {
    return written_.empty() && std::all_of(traced_.begin(), traced_.end(),
                                           [](const Traced& t) { return t.second.empty(); });
  }
  size_t size() const { return traced_.size(); }

  /// Body `k` closed: captures, `carries` of its inputs, the written state where it is carried, the
  /// other inputs; to `results` of its results, the new state, the others.
  Body Close(size_t k, bool carried, size_t carries, size_t results, bool gives_state) const;

 private:
  Captures captures_;
  std::vector<Traced> traced_;
  std::vector<std::vector<int>> slots_;
  std::vector<Written> written_;
};

Body Bodies::Close(size_t k, bool carried, size_t carries, size_t results, bool gives_state) const {
  Trace& trace = *traced_[k].first;
  Graph& g = trace.graph();
  const size_t count = written_.size(), declared = g.inputs().size() - trace.captures().size();
  auto body = std::make_shared<Graph>();
  Builder b(*body, LocationId{0});
  std::vector<Value> arguments(g.inputs().size()), first, state;
  for (const PyTensor& t : captures()) {
    first.push_back(body->AddInput(StrCat("capture_", first.size()), t.type, LocationId{0}));
  }
  const auto declare = [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const Value v = g.inputs()[i];
      arguments[i] = body->AddInput(g.input_name(static_cast<int>(i)), g.type(v), g.location(v));
    }
  };
  declare(0, carries);
  for (const Written& w : written_) {
    state.push_back(first[static_cast<size_t>(w.slot)]);
    if (!carried) continue;
    const std::string name = w.variable == nullptr ? "commit" : StrCat("state_", state.size() - 1);
    const Value carry = body->AddInput(name, w.before.type, LocationId{0});
    state.back() = IsFloat(w.before.type.dtype) ? ops::ReadAs(b, carry, state.back()) : carry;
  }
  declare(carries, declared);
  for (size_t i = declared; i < arguments.size(); ++i) {
    arguments[i] = first[static_cast<size_t>(slots_[k][i - declared])];
  }

  std::vector<Value> given(count);  // what the body leaves of the state, as values of its trace
  for (const Trace::Cell& cell : trace.cells()) {
    for (size_t i = 0; i < count; ++i) {
      if (written_[i].variable != cell.variable) continue;
      arguments[declared + static_cast<size_t>(cell.capture)] = state[i];
      given[i] = cell.after;
    }
  }
  std::vector<Value> ys;
  for (const PyTensor& y : traced_[k].second) ys.push_back(trace.Use(y));
  for (const Value y : ys) g.AddOutput(StrCat("y", g.outputs().size()), y);
  for (const Value v : given) {
    if (v.valid()) g.AddOutput("state", v);
  }
  const std::vector<Value> outputs = Inline(*body, g, arguments, {}, LocationId{0});
  const auto give = [&](Value v) { body->AddOutput(StrCat("y", body->outputs().size()), v); };
  for (size_t i = 0; i < results; ++i) give(outputs[i]);
  size_t next = ys.size();
  for (size_t i = 0; gives_state && i < count; ++i) {
    give(given[i].valid() ? outputs[next++] : state[i]);
  }
  for (size_t i = results; i < ys.size(); ++i) give(outputs[i]);
  return body;
}

// The new values go into the variables; what runs at once is a step of its own, so the last
// decision decides. Returns it then.
py::object WriteBack(Trace* outer, const std::vector<Written>& written,
                     const std::vector<PyTensor>& values) {
  const bool at_once = outer == nullptr || outer->kind() == Trace::Kind::kTape;
  const PyTensor* commit = nullptr;
  for (size_t i = 0; i < written.size(); ++i) {
    if (written[i].variable == nullptr) commit = &values[i];
  }
  const bool commits = !at_once || commit == nullptr || *commit->concrete.OnHost().data<bool>();
  for (size_t i = 0; i < written.size(); ++i) {
    const Written& w = written[i];
    if (w.variable == nullptr) {
      if (!at_once) outer->SetCommit(values[i].value);
    } else if (!commits && !w.always) {
      continue;
    } else if (outer == nullptr) {
      w.variable->Assign(values[i].concrete);
    } else if (w.always) {
      outer->AssignAlways(w.variable, values[i].value);
    } else {
      outer->Assign(w.variable, values[i].value);
    }
  }
  if (!at_once || commit == nullptr) return py::none();
  return py::reinterpret_steal<py::object>(NewPyTensor(*commit));
}

py::tuple Control(const std::string& name, const py::list& list, const py::list& operands,
                  std::vector<int64_t> numbers) {
  Trace* outer = Trace::Current();
  const Bodies bodies(outer, list);
  if (bodies.empty() && name != "while_loop") return py::make_tuple(py::list(), py::none());
  const bool cond = name == "cond", scan = name == "scan", call = name == "checkpoint";
  const bool loops = !cond && !call;
  const OpDef& op = cond ? ops::kCond : scan ? ops::kScan : call ? ops::kCall : ops::kWhileLoop;
  const std::vector<Written>& written = bodies.written();
  // Before what stands the written state among operands, and the new one among results?
  size_t carries = operands.size();
  if (scan) {
    carries = static_cast<size_t>(numbers[0]);
    numbers[0] += static_cast<int64_t>(written.size());
  }
  std::vector<Attr> attrs;
  for (size_t k = 0; k < bodies.size(); ++k) {
    const bool decides = name == "while_loop" && k == 0;
    const size_t results = decides ? 1 : loops ? carries : py::len(list[k][py::int_(1)]);
    attrs.emplace_back(bodies.Close(k, loops, loops ? carries : 0, results, !decides));
  }
  if (call) attrs.emplace_back(Body());  // the body is differentiated
  if (loops) attrs.emplace_back(static_cast<int64_t>(bodies.captures().size()));
  for (const int64_t n : numbers) {
    if (op.attrs[attrs.size()].type == AttrType::kBool)
      attrs.emplace_back(n != 0);
    else
      attrs.emplace_back(n);
  }
  std::vector<PyTensor> all;  // cond: pred comes before the captures
  for (py::handle o : operands) all.push_back(*AsPyTensor(o.ptr()));
  if (loops) {
    std::vector<PyTensor> before;
    for (const Written& w : written) {  // its cotangent goes through the capture: see ReadAs
      before.push_back(outer == nullptr ? w.before
                                        : outer->Wrap(outer->Constant(outer->Use(w.before))));
    }
    all.insert(all.begin() + static_cast<std::ptrdiff_t>(carries), before.begin(), before.end());
  }
  all.insert(all.begin() + (cond ? 1 : 0), bodies.captures().begin(), bodies.captures().end());

  std::vector<PyTensor> results;
  const LocationId location = CaptureLocation();
  if (outer != nullptr) {
    std::vector<Value> values;
    for (const PyTensor& t : all) values.push_back(outer->Use(t));
    results = outer->AddOp(op, values, std::move(attrs), location);
  } else {
    std::vector<Tensor> inputs, outputs;
    for (const PyTensor& t : all) inputs.push_back(RequireData(t, name));
    try {
      RunEager(op, inputs, attrs, &outputs);
    } catch (Error& e) {
      throw e.At(ShortLocation(location));
    }
    for (Tensor& t : outputs) results.push_back(PyTensor::Concrete(std::move(t)));
  }
  const auto begin = results.begin() +
                     static_cast<std::ptrdiff_t>(loops ? carries : results.size() - written.size());
  const auto end = begin + static_cast<std::ptrdiff_t>(written.size());
  const py::object commit = WriteBack(outer, written, {begin, end});
  results.erase(begin, end);
  py::list out;
  for (PyTensor& t : results) {
    out.append(py::reinterpret_steal<py::object>(NewPyTensor(std::move(t))));
  }
  return py::make_tuple(out, commit);
}

}  // namespace

void BindControl(py::module_& m) {
  m.def("control", &Control, py::arg("name"), py::arg("bodies"), py::arg("operands"),
        py::arg("numbers"),
        "cond, scan, while_loop or checkpoint of traced bodies, each with its results; `numbers` "
        "are the op's attributes after its bodies and the number of captures. Writes the Variables "
        "that bodies "
        "assigned; returns the results and, where it ran at once, whether it was committed.");
}

}  // namespace ostria
