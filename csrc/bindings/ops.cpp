// SPDX-License-Identifier: Apache-2.0
// One loop over the registry gives every op a Python function in the submodule `ops`, and describes
// the registry for stubs, reference and tests. The functions are METH_FASTCALL: pybind11's own
// dispatch would be a good part of a small eager call, most of all with keywords.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
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
  return CallOp(*static_cast<const OpDef*>(PyCapsule_GetPointer(self, nullptr)), args, nargs,
                names);
}

// A default in Python's spelling; names of dtypes and the like become strings.
std::string PythonDefault(const AttrDef& a) {
  switch (a.type) {
    case AttrType::kBool: return a.default_text == "true" ? "True" : "False";
    case AttrType::kInts: {
      std::string text(a.default_text);
      std::replace(text.begin(), text.end(), '[', '(');
      std::replace(text.begin(), text.end(), ']', text == "()" || text.size() < 3 ? ')' : ',');
      return text.ends_with(',') ? text + ")" : text;
    }
    case AttrType::kInt: return std::string(a.default_text);
    case AttrType::kFloat:
      if (a.default_text.find_first_of("infa") == std::string_view::npos) {
        return std::string(a.default_text);
      }
      break;
    case AttrType::kString: return std::string(a.default_text);
    case AttrType::kBody: return "None";
    default: break;
  }
  return StrCat("'", a.default_text, "'");
}

// What inspect.signature() reads: after the first default everything has one or is keyword-only.
std::string Signature(const OpDef& op) {
  std::string text;
  bool optional = false, keyword_only = false;
  const auto add = [&](std::string_view name, const std::string& default_text) {
    if (default_text.empty() && optional && !keyword_only) {
      text += ", *";
      keyword_only = true;
    }
    text += StrCat(text.empty() ? "" : ", ", name, default_text.empty() ? "" : "=", default_text);
    optional = optional || !default_text.empty();
  };
  for (const InputDef& in : op.inputs) add(in.name, in.arity == Arity::kOptional ? "None" : "");
  for (const AttrDef& a : op.attrs) add(a.name, a.default_text.empty() ? "" : PythonDefault(a));
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
  d["declares_flops"] = op.flops != nullptr;
  d["pure"] = op.traits.pure;
  d["elementwise"] = op.traits.elementwise;
  d["smooth"] = op.traits.smooth;
  d["internal"] = op.traits.internal;
  d["view"] = op.traits.view;
  return d;
}

const OpDef& OpNamed(const std::string& name, const char* what) {
  const OpDef* op = FindOp(name);
  if (op == nullptr) Fail(ErrorCode::kInvalidArgument, what, ": there is no op '", name, "'");
  return *op;
}

}  // namespace

void BindOps(py::module_& m) {
  py::module_ ops = m.def_submodule("ops", "Every registered op as a function.");
  const py::str module("ostria");
  static auto* methods = new std::deque<std::pair<std::string, PyMethodDef>>;
  for (const OpDef* op : ops::AllOps()) {
    // "name(signature)\n--\n\ndoc" gives the builtin a __text_signature__ where Python can read it.
    auto& [doc, method] = methods->emplace_back();
    doc = StrCat(op->name, "(", Signature(*op), ")\n--\n\n", op->doc);
    method = {op->name.data(), reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Entry)),
              METH_FASTCALL | METH_KEYWORDS, doc.c_str()};
    const py::capsule self(op);
    ops.attr(op->name.data()) =
        py::reinterpret_steal<py::object>(PyCFunction_NewEx(&method, self.ptr(), module.ptr()));
  }
  m.def(
      "registry",
      [] {
        py::list all;
        for (const OpDef* op : ops::AllOps()) all.append(Describe(*op));
        return all;
      },
      "A description of every op: what stubs, reference and tests are made from.");
  py::list names;
  for (const OpDef* op : ops::AllOps()) {
    if (!op->traits.internal) names.append(op->name);
  }
  m.attr("public_ops") = names;
  m.def(
      "result_type",
      [](const py::args& objects) {
        std::vector<PyObject*> list;
        for (py::handle object : objects) list.push_back(object.ptr());
        return ResultType(list);
      },
      "The dtype that ops give these operands in common.");
  m.def(
      "implementations",
      [](const std::string& name, const std::string& device) {
        std::vector<std::string> names;
        for (const KernelDef* k :
             KernelsFor(ParseDevice(device).kind, OpNamed(name, "implementations"))) {
          names.emplace_back(k->impl);
        }
        return names;
      },
      py::arg("op"), py::arg("device"), "Those of an op on a device, in order of preference.");
  m.def(
      "pin_kernel",
      [](const std::string& name, const std::string& impl, const std::string& device) {
        PinKernel(OpNamed(name, "pin_kernel"), impl, ParseDevice(device).kind);
      },
      py::arg("op"), py::arg("impl"), py::arg("device") = "cpu",
      "Makes later plans use one implementation; '' undoes it.");
}

}  // namespace ostria
