// SPDX-License-Identifier: Apache-2.0
#include "bindings/py_variable.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "bindings/device_name.h"
#include "bindings/py_tensor.h"
#include "bindings/trace.h"
#include "runtime/eager.h"

namespace py = pybind11;

namespace ostria {
namespace {

using VariablePtr = std::shared_ptr<Variable>;

PyTensor Current(const VariablePtr& v) {
  if (Trace* trace = Trace::Current()) return trace->Wrap(trace->Read(v));
  return PyTensor::Concrete(v->Copy());
}

PyTensor ValueFor(const VariablePtr& v, const py::object& value) {
  if (PyTensor* t = AsPyTensor(value.ptr())) return *t;
  if (const auto* other = AsPyVariable(value.ptr())) return Current(*other);
  Tensor t = TensorFromArray(value, /*copy=*/true);
  if (t.dtype() != v->dtype() && !py::isinstance<py::buffer>(value)) {  // Python numbers are weak
    py::object array = py::module_::import("numpy").attr("asarray")(
        value, DTypeObject(v->dtype()).attr("numpy")());
    t = TensorFromArray(array, true);
  }
  return PyTensor::Concrete(std::move(t));
}

// Outside a trace the value is written at once; inside, `in_trace(trace, value)` writes it.
template <class InTrace>
void Assign(const VariablePtr& v, const py::object& value, InTrace in_trace) {
  const PyTensor t = ValueFor(v, value);
  if (Trace* trace = Trace::Current())
    in_trace(*trace, trace->Use(t));
  else
    v->Assign(RequireData(t, "assign()"));
}

}  // namespace

void BindVariable(py::module_& m) {
  py::class_<Variable, VariablePtr> variable(
      m, "Variable", py::dynamic_attr(),
      "A named tensor that survives steps: the only thing that compiled functions can change.");
  RegisterVariableType(reinterpret_cast<PyTypeObject*>(variable.ptr()));
  variable
      .def(py::init([](const py::object& initial, std::string name, bool trainable,
                       const std::string& aggregation) {
             if (name.empty()) {
               Fail(ErrorCode::kTypeError,
                    "Variable: 'name' is missing; checkpoints find a variable by its name; give "
                    "one, as in ost.Variable(0.0, name=\"counter\")");
             }
             Tensor t = [&] {
               if (PyTensor* given = AsPyTensor(initial.ptr())) {
                 return RequireData(*given, "Variable()");
               }
               return TensorFromArray(initial, false);
             }();
             if (aggregation != "none" && aggregation != "sum") {
               Fail(ErrorCode::kInvalidArgument, "Variable: aggregation '", aggregation,
                    "' is not accepted; give 'none' (all replicas hold one value) or 'sum' (the "
                    "value is the sum of what each replica holds)");
             }
             return Variable::Create(
                 std::move(name), t, trainable ? StateClass::kTrainable : StateClass::kOther,
                 GetDefaultDevice(), aggregation == "sum" ? Copies::kSummed : Copies::kEqual);
           }),
           py::arg("initial"), py::kw_only(), py::arg("name") = "", py::arg("trainable") = true,
           py::arg("aggregation") = "none")
      .def_property(
          "name", [](const VariablePtr& v) { return v->name(); },
          [](const VariablePtr& v, std::string name) { v->set_name(std::move(name)); })
      .def_property_readonly("id", [](const VariablePtr& v) { return v->id(); })
      .def_property_readonly("shape",
                             [](const VariablePtr& v) {
                               py::tuple out(v->shape().rank());
                               for (int i = 0; i < v->shape().rank(); ++i) {
                                 out[i] = v->shape()[i].value();
                               }
                               return out;
                             })
      .def_property_readonly("dtype", [](const VariablePtr& v) { return v->dtype(); })
      .def_property_readonly("ndim", [](const VariablePtr& v) { return v->shape().rank(); })
      .def_property_readonly("size", [](const VariablePtr& v) { return v->shape().numel(); })
      .def_property_readonly("device", [](const VariablePtr& v) { return ToString(v->device()); })
      .def_property_readonly(
          "devices",
          [](const VariablePtr& v) {
            py::list names;
            for (int c = 0; c < v->num_copies(); ++c) names.append(ToString(v->device(c)));
            return names;
          },
          "The devices that hold a copy: one for each replica of this process.")
      .def_property_readonly(
          "aggregation",
          [](const VariablePtr& v) { return v->copies() == Copies::kSummed ? "sum" : "none"; },
          "'sum' where replicas' copies are added up when read, else 'none'.")
      .def_property_readonly(
          "num_parts", [](const VariablePtr& v) { return std::max(v->parts().total, 1); },
          "How many replicas, over all processes, hold a part of the value each; 1 where each "
          "holds all of it.")
      .def_readwrite("trainable", &Variable::trainable)
      .def_property_readonly(
          "chunk", [](const VariablePtr& v) { return py::make_tuple(v->chunk_id(), v->offset()); },
          "(chunk, byte offset): where the variable lives.")
      .def("value", &Current, "The current value: a copy, or the traced value while tracing.")
      .def(
          "view", [](const VariablePtr& v) { return PyTensor::Concrete(v->View()); },
          "A live tensor without a copy; later steps show through it.")
      .def(
          "copy_of",
          [](const VariablePtr& v, int replica) {
            if (replica < 0 || replica >= v->num_copies()) {
              Fail(ErrorCode::kIndexError, "variable '", v->name(), "': replica ", replica,
                   " has no copy; there are ", v->num_copies());
            }
            return ArrayFromTensor(v->SnapshotCopy(replica));
          },
          py::arg("replica"), "What one replica of this process holds, as a NumPy array.")
      .def(
          "numpy",
          [](const VariablePtr& v) {
            if (v->device().kind == DeviceKind::kNull) {
              Fail(ErrorCode::kInvalidArgument, "variable '", v->name(),
                   "' was made on device 'null', which holds no values; make the model on the "
                   "device that it is to run on");
            }
            if (!v->parts().any()) return ArrayFromTensor(v->Snapshot());
            Tensor whole;
            {
              const py::gil_scoped_release release;  // other processes may be waited for
              whole = v->Snapshot();
            }
            return ArrayFromTensor(whole);
          },
          "A copy as a NumPy array. Of what several processes hold parts of, all call it.")
      .def(
          "move_to",
          [](const VariablePtr& v, DeviceName device) {
            const py::gil_scoped_release release;
            v->MoveTo(device.id);
          },
          py::arg("device"), "Moves the value to a device; everything else stays.")
      .def(
          "assign",
          [](const VariablePtr& v, const py::object& value) {
            Assign(v, value, [&](Trace& t, Value x) { t.Assign(v, x); });
          },
          py::arg("value"), "Replaces the value in place; dtype and shape must be the same.")
      .def(
          "assign_add",
          [](const py::object& v, const py::object& value) { v.attr("assign")(v + value); },
          py::arg("value"), "Adds `value`; dtype and shape of the sum must be those it had.")
      .def(
          "assign_sub",
          [](const py::object& v, const py::object& value) { v.attr("assign")(v - value); },
          py::arg("value"), "Subtracts `value`; dtype and shape must stay.")
      .def(
          "_assign_decided",
          [](const VariablePtr& v, const py::object& value, const PyTensor& commit) {
            Assign(v, value, [&](Trace& t, Value x) { t.AssignDecided(v, x, t.Use(commit)); });
          },
          py::arg("value"), py::arg("commit"))
      .def(
          "_assign_always",
          [](const VariablePtr& v, const py::object& value) {
            Assign(v, value, [&](Trace& t, Value x) { t.AssignAlways(v, x); });
          },
          py::arg("value"))
      .def(
          "_parts",
          [](const VariablePtr& v) {
            std::vector<PyTensor> parts;
            for (int c = 0; c < v->num_copies(); ++c) {
              parts.push_back(PyTensor::Concrete(v->SnapshotCopy(c)));
            }
            return parts;
          },
          "What each replica of this process holds.")
      .def(
          "_assign_parts",
          [](const VariablePtr& v, const std::vector<PyTensor>& parts) {
            OSTRIA_CHECK(static_cast<int>(parts.size()) == v->num_copies());
            for (size_t c = 0; c < parts.size(); ++c) {
              v->AssignCopy(static_cast<int>(c), RequireData(parts[c], "_assign_parts()"));
            }
          },
          py::arg("parts"))
      .def(
          "_slot",
          [](const VariablePtr& v, const std::string& kind, double fill, const Parts* parts) {
            return Variable::CreateSlot(v, kind, fill, parts == nullptr ? Parts{} : *parts);
          },
          py::arg("kind"), py::arg("fill") = 0.0, py::arg("parts") = py::none())
      .def("__repr__", [](const VariablePtr& v) {
        return StrCat("<Variable '", v->name(), "' ", ValueType{v->dtype(), v->shape()}, ">");
      });
  m.def("seal_state_chunks", &SealStateChunks);
}

}  // namespace ostria
