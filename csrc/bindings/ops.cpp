// SPDX-License-Identifier: Apache-2.0
// One loop over the registry gives every op a Python function in the submodule `ops`, and describes the
// registry for stubs, reference and tests. The functions are METH_FASTCALL: pybind11's own dispatch adds
// 180 ns to a positional call and 330 ns with a keyword, a fifth of an eager op.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <deque>

#include "backend/backend.h"
#include "bindings/bindings.h"
#include "bindings/call_op.h"
#include "bindings/py_tensor.h"
#include "ir/parser.h"
#include "ops/ops.h"
#include "runtime/lower.h"

namespace py = pybind11;

namespace ostria {
namespace {

PyObject* Entry(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return CallOp(*static_cast<const OpDef*>(PyCapsule_GetPointer(self, nullptr)), args, nargs, names);
}

std::string Signature(const OpDef& op) {
  std::string text;
  for (const InputDef& in : op.inputs) {
    text += StrCat(text.empty() ? "" : ", ", in.name, in.arity == Arity::kOptional ? "=None" : "");
  }
  for (const AttrDef& a : op.attrs) {
    text += StrCat(text.empty() ? "" : ", ", a.name);
    if (!a.default_text.empty()) text += StrCat("=", a.default_text);
  }
  return text;
}

py::dict Describe(const OpDef& op) {
  static constexpr const char* kArity[] = {"one", "optional", "variadic"};
  py::dict d;
  d["name"] = op.name;
  d["version"] = op.version;
  d["doc"] = op.doc;
  py::list inputs, attrs, outputs, kernels;
  for (const InputDef& in : op.inputs) {
    inputs.append(py::make_tuple(in.name, kArity[static_cast<int>(in.arity)]));
  }
  for (const AttrDef& a : op.attrs) {
    attrs.append(py::make_tuple(a.name, Name(a.type), a.default_text));
  }
  for (const OutputDef& o : op.outputs) outputs.append(o.name);
  for (const KernelDef* k : KernelsFor(DeviceKind::kCpu, op)) kernels.append(k->impl);
  d["inputs"] = inputs;
  d["attrs"] = attrs;
  d["outputs"] = outputs;
  d["kernels"] = kernels;
  d["has_gradient"] = op.grad.fn != nullptr;
  d["no_gradient_because"] = op.grad.none_because;
  d["decomposes"] = op.decompose != nullptr;
  d["pure"] = op.traits.pure;
  d["elementwise"] = op.traits.elementwise;
  d["smooth"] = op.traits.smooth;
  d["internal"] = op.traits.internal;
  d["view"] = op.traits.view;
  return d;
}

}  // namespace

void BindOps(py::module_& m) {
  py::module_ ops = m.def_submodule("ops", "Every registered op as a function.");
  static auto* methods = new std::deque<std::pair<std::string, PyMethodDef>>;
  for (const OpDef* op : ops::AllOps()) {
    // "name(signature)\n--\n\ndoc" gives the builtin a __text_signature__ where Python can read it.
    auto& [doc, method] = methods->emplace_back();
    doc = StrCat(op->name, "(", Signature(*op), ")\n\n", op->doc);
    method = {op->name.data(), reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Entry)),
              METH_FASTCALL | METH_KEYWORDS, doc.c_str()};
    const py::capsule self(op);
    ops.attr(op->name.data()) =
        py::reinterpret_steal<py::object>(PyCFunction_New(&method, self.ptr()));
  }
  m.def("registry", [] {
    py::list all;
    for (const OpDef* op : ops::AllOps()) all.append(Describe(*op));
    return all;
  }, "A description of every op: what stubs, reference and tests are made from.");
  py::list names;
  for (const OpDef* op : ops::AllOps()) {
    if (!op->traits.internal) names.append(op->name);
  }
  m.attr("public_ops") = names;
  m.def("pin_kernel", [](const std::string& name, const std::string& impl) {
    const OpDef* op = FindOp(name);
    if (op == nullptr) Fail(ErrorCode::kInvalidArgument, "pin_kernel: there is no op '", name, "'");
    PinKernel(*op, impl);
  }, py::arg("op"), py::arg("impl"), "Makes later plans use one implementation; '' undoes it.");
}

}  // namespace ostria
