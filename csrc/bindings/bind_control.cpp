// SPDX-License-Identifier: Apache-2.0
// Control ops for Python: bodies from finished traces. What a body closed over becomes operands in
// front of the given ones; without an outer trace the op runs at once. _control.py drives it.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/call_op.h"
#include "bindings/py_tensor.h"
#include "bindings/trace.h"
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

// The trace's graph with the common captures as first inputs, then its declared ones.
Body Close(const Traced& traced, const std::vector<int>& slots, const Captures& captures) {
  Trace& trace = *traced.first;
  Graph& g = trace.graph();
  for (const PyTensor& y : traced.second) {
    g.AddOutput(StrCat("y", g.outputs().size()), trace.Use(y));
  }
  auto body = std::make_shared<Graph>();
  const size_t declared = g.inputs().size() - trace.captures().size();
  std::vector<Value> arguments(g.inputs().size());
  std::vector<Value> first;
  for (size_t i = 0; i < captures.tensors().size(); ++i) {
    first.push_back(
        body->AddInput(StrCat("capture_", i), captures.tensors()[i].type, LocationId{0}));
  }
  for (size_t i = 0; i < declared; ++i) {
    const Value v = g.inputs()[i];
    arguments[i] = body->AddInput(g.input_name(static_cast<int>(i)), g.type(v), g.location(v));
  }
  for (size_t i = declared; i < arguments.size(); ++i) arguments[i] = first[slots[i - declared]];
  const std::vector<Value> outputs = Inline(*body, g, arguments, {}, LocationId{0});
  for (size_t i = 0; i < outputs.size(); ++i) body->AddOutput(StrCat("y", i), outputs[i]);
  return body;
}

py::list Control(const std::string& name, const py::list& bodies, const py::list& operands,
                 const std::vector<int64_t>& numbers) {
  Trace* outer = Trace::Current();
  Captures captures(outer);
  std::vector<Traced> traced;
  std::vector<std::vector<int>> slots;
  for (py::handle item : bodies) {
    const auto pair = py::reinterpret_borrow<py::tuple>(item);
    Traced t{pair[0].cast<std::shared_ptr<Trace>>(), {}};
    for (py::handle y : pair[1]) t.second.push_back(*AsPyTensor(y.ptr()));
    std::vector<int>& own = slots.emplace_back();
    for (const PyTensor& c : t.first->captures()) own.push_back(captures.Add(c));
    traced.push_back(std::move(t));
  }
  std::vector<Attr> attrs;
  for (size_t i = 0; i < traced.size(); ++i) {
    attrs.emplace_back(Close(traced[i], slots[i], captures));
  }
  const bool cond = name == "cond";
  const auto count = static_cast<int64_t>(captures.tensors().size());
  const OpDef& op = cond ? ops::kCond : name == "scan" ? ops::kScan : ops::kWhileLoop;
  if (!cond) attrs.emplace_back(count);
  for (const int64_t n : numbers) {
    if (op.attrs[attrs.size()].type == AttrType::kBool)
      attrs.emplace_back(n != 0);
    else
      attrs.emplace_back(n);
  }
  std::vector<PyTensor> all;  // cond: pred comes before the captures
  for (py::handle o : operands) all.push_back(*AsPyTensor(o.ptr()));
  all.insert(all.begin() + (cond ? 1 : 0), captures.tensors().begin(), captures.tensors().end());

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
  py::list out;
  for (PyTensor& t : results) {
    out.append(py::reinterpret_steal<py::object>(NewPyTensor(std::move(t))));
  }
  return out;
}

}  // namespace

void BindControl(py::module_& m) {
  m.def("control", &Control, py::arg("name"), py::arg("bodies"), py::arg("operands"),
        py::arg("numbers"),
        "cond, scan or while_loop of traced bodies, each with its results; `numbers` are the op's "
        "attributes after its bodies and the number of captures.");
}

}  // namespace ostria
