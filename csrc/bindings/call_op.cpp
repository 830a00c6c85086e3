// SPDX-License-Identifier: Apache-2.0
#include "bindings/call_op.h"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "base/check.h"
#include "bindings/promotion.h"
#include "bindings/py_tensor.h"
#include "bindings/py_variable.h"
#include "bindings/trace.h"
#include "ops/ops.h"
#include "runtime/eager.h"

namespace py = pybind11;

namespace ostria {
namespace {

// One operand as given: a tensor, a variable, or a Python scalar that takes the others' dtype.
struct Operand {
  PyTensor* tensor = nullptr;
  const std::shared_ptr<Variable>* variable = nullptr;
  PyTensor converted;     // of a NumPy array or a list
  bool constant = false;  // converted: a constant of the graph when tracing
  bool scalar = false;
  ScalarKind kind = ScalarKind::kFloat;
  PyObject* number = nullptr;  // borrowed
  std::optional<Dim> size;     // a size that tracing does not know: weak like a Python int
  DType dtype = DType::kFloat32;
  bool promote = true;
};

Operand ReadOperand(PyObject* object, bool promote, bool tracing) {
  Operand o;
  o.promote = promote;
  if (PyTensor* t = AsPyTensor(object)) {
    o.tensor = t;
    o.dtype = t->type.dtype;
  } else if (PyBool_Check(object)) {
    o = {.scalar = true, .kind = ScalarKind::kBool, .number = object, .promote = promote};
  } else if (PyLong_Check(object)) {
    o = {.scalar = true, .kind = ScalarKind::kInt, .number = object, .promote = promote};
  } else if (PyFloat_Check(object)) {
    o = {.scalar = true, .kind = ScalarKind::kFloat, .number = object, .promote = promote};
  } else if (const auto* v = AsPyVariable(object)) {
    o.variable = v;
    o.dtype = (*v)->dtype();
  } else if (py::isinstance<Dim>(object)) {
    o = {.scalar = true,
         .kind = ScalarKind::kInt,
         .size = py::cast<Dim>(py::handle(object)),
         .promote = promote};
  } else {
    o.converted = PyTensor::Concrete(TensorFromArray(object, /*copy=*/tracing));
    o.constant = true;
    o.dtype = o.converted.type.dtype;
  }
  return o;
}

Tensor ScalarTensor(const OpDef& op, const Operand& o, DType dtype) {
  if (o.size) {
    throw Error(ErrorCode::kInvalidArgument, std::string(op.name),
                StrCat("the size `", *o.size,
                       "` is used outside the function whose tracing it "
                       "belongs to; use the shape of a tensor there"));
  }
  if (o.kind == ScalarKind::kFloat) return Tensor::Scalar(dtype, PyFloat_AS_DOUBLE(o.number));
  if (o.kind == ScalarKind::kBool) return Tensor::Scalar(dtype, o.number == Py_True);
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(o.number, &overflow);
  Tensor t = Tensor::Scalar(dtype, static_cast<int64_t>(value));
  bool fits = overflow == 0;
  if (fits && IsInteger(dtype)) {
    DispatchDType(dtype, [&]<class T>(T*) {
      if constexpr (std::is_integral_v<T>) {
        fits = static_cast<long long>(*t.data<T>()) == value && (value >= 0 || std::is_signed_v<T>);
      }
    });
  }
  if (!fits) {
    throw Error(ErrorCode::kTypeError, std::string(op.name),
                StrCat("the number ", std::string(py::str(py::handle(o.number))), " does not fit ",
                       dtype, "; cast the tensor to a wider dtype first"));
  }
  return t;
}

// The dtype that the promoting operands share; scalars only decide when there is nothing else.
DType CommonDType(std::string_view op, const std::vector<Operand>& operands) {
  bool found = false;
  DType common = DType::kFloat32;
  for (const Operand& o : operands) {
    if (!o.promote || o.scalar) continue;
    if (!found) {
      common = o.dtype;
      found = true;
    } else if (o.dtype != common) {
      const auto both = Promote(common, o.dtype);
      if (!both) FailPromotion(op, common, o.dtype);
      common = *both;
    }
  }
  ScalarKind widest = ScalarKind::kBool;
  bool any = false;
  for (const Operand& o : operands) {
    if (!o.promote || !o.scalar) continue;
    any = true;
    widest = std::max(widest, o.kind);
    if (found && !ScalarFits(o.kind, common)) FailPromotion(op, common, DefaultDType(o.kind));
  }
  return found || !any ? common : DefaultDType(widest);
}

bool BelongsTo(Trace* trace, const Operand& o) {
  if (trace == nullptr) return false;
  if (o.variable != nullptr || o.size) return true;
  return o.tensor != nullptr && trace->Records(*o.tensor);
}

PyObject* Record(Trace& trace, const OpDef& op, std::vector<Operand>& operands,
                 std::vector<Attr> attrs, DType common) {
  const LocationId location = CaptureLocation();
  Graph& g = trace.graph();
  const NodeId last = g.last();
  std::vector<Value> inputs;
  try {
    Builder b(g, location);
    for (Operand& o : operands) {
      Value v;
      if (o.tensor != nullptr) {
        v = trace.Use(*o.tensor);
      } else if (o.variable != nullptr) {
        v = trace.Read(*o.variable);
      } else if (o.size) {
        v = b(ops::kDimProduct, {}, {Shape({*o.size}), o.promote ? common : DType::kInt64});
      } else {
        const Tensor t = o.scalar ? ScalarTensor(op, o, o.promote ? common : DefaultDType(o.kind))
                                  : o.converted.concrete;
        v = b(ops::kConstant, {}, {t});
      }
      if (o.promote && g.dtype(v) != common) v = b(ops::kCast, {v}, {common});
      inputs.push_back(v);
    }
  } catch (Error& e) {
    throw e.At(ShortLocation(location));
  }
  if (trace.kind() == Trace::Kind::kTape) {
    trace.RunFrom(last.valid() ? g.next(last) : g.first());
  }
  std::vector<PyTensor> results = trace.AddOp(op, inputs, std::move(attrs), location);
  if (results.size() == 1) return NewPyTensor(std::move(results[0]));
  py::tuple out(results.size());
  for (size_t i = 0; i < results.size(); ++i) {
    PyTuple_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), NewPyTensor(std::move(results[i])));
  }
  return out.release().ptr();
}

PyObject* RunNow(const OpDef& op, std::vector<Operand>& operands, const std::vector<Attr>& attrs,
                 DType common) {
  std::vector<Tensor> inputs, outputs;
  inputs.reserve(operands.size());
  int64_t bytes = 0;
  for (Operand& o : operands) {
    if (o.scalar) {
      inputs.push_back(ScalarTensor(op, o, o.promote ? common : DefaultDType(o.kind)));
    } else if (o.variable != nullptr) {
      inputs.push_back((*o.variable)->View());
    } else if (o.tensor != nullptr) {
      inputs.push_back(RequireData(*o.tensor, ""));
    } else {
      inputs.push_back(o.converted.concrete);
    }
    if (o.promote && inputs.back().dtype() != common) {
      const Attr to = common;
      RunEager(ops::kCast, {&inputs.back(), 1}, {&to, 1}, &outputs);
      inputs.back() = outputs[0];
    }
    bytes += inputs.back().bytes();
  }
  try {
    if (bytes > 65536) {  // below, letting other threads in costs more than the op
      py::gil_scoped_release release;
      RunEager(op, inputs, attrs, &outputs);
    } else {
      RunEager(op, inputs, attrs, &outputs);
    }
  } catch (Error& e) {
    throw e.At(ShortLocation(CaptureLocation()));
  }
  if (outputs.size() == 1) return NewPyTensor(PyTensor::Concrete(std::move(outputs[0])));
  py::tuple out(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    PyTuple_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i),
                     NewPyTensor(PyTensor::Concrete(std::move(outputs[i]))));
  }
  return out.release().ptr();
}

// "; did you mean 'axis'?" or a full stop, by the rule that all of Python's half uses.
std::string DidYouMean(const OpDef& op, std::string_view word) {
  py::list names;
  for (const InputDef& in : op.inputs) names.append(in.name);
  for (const AttrDef& a : op.attrs) names.append(a.name);
  const py::object guess =
      py::module_::import("ostria._keywords").attr("closest_keyword")(word, names);
  return guess.is_none() ? "." : StrCat("; did you mean '", guess.cast<std::string>(), "'?");
}

// Where each argument goes: slots are the declared inputs, then the declared attributes.
void Distribute(const OpDef& op, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
                PyObject** slots) {
  const size_t count = op.inputs.size() + op.attrs.size();
  const auto name_of = [&](size_t i) {
    return i < op.inputs.size() ? op.inputs[i].name : op.attrs[i - op.inputs.size()].name;
  };
  const auto accepted = [&] {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += StrCat(i ? ", " : "", name_of(i));
    return text;
  };
  if (static_cast<size_t>(nargs) > count) {
    throw Error(
        ErrorCode::kTypeError, std::string(op.name),
        StrCat("takes at most ", count, " arguments (", accepted(), "), ", nargs, " were given"));
  }
  std::copy(args, args + nargs, slots);
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t k = 0; k < named; ++k) {
    const std::string_view name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, k));
    size_t i = 0;
    while (i < count && name_of(i) != name) ++i;
    if (i == count) {
      throw Error(ErrorCode::kTypeError, std::string(op.name),
                  StrCat("unknown keyword '", name, "'", DidYouMean(op, name),
                         " Accepted: ", accepted(), "."));
    }
    if (slots[i] != nullptr) {
      throw Error(ErrorCode::kTypeError, std::string(op.name),
                  StrCat("'", name, "' was given twice, by position and by name"));
    }
    slots[i] = args[nargs + k];
  }
}

// Defaults are text in the OpDef; reading them once per op keeps eager calls short.
const Attr& Default(const OpDef& op, size_t i) {
  static auto* cache = new std::unordered_map<const AttrDef*, Attr>;  // guarded by the GIL
  const auto it = cache->find(&op.attrs[i]);
  if (it != cache->end()) return it->second;
  return cache->emplace(&op.attrs[i], DefaultAttr(op, static_cast<int>(i))).first->second;
}

PyObject* Call(const OpDef& op, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  constexpr size_t kMostSlots = 24;
  PyObject* slots[kMostSlots] = {};
  OSTRIA_CHECK(op.inputs.size() + op.attrs.size() <= kMostSlots, op.name);
  Distribute(op, args, nargs, names, slots);

  Trace* trace = Trace::Current();
  std::vector<Operand> operands;
  operands.reserve(4);
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const InputDef& in = op.inputs[i];
    if (slots[i] == nullptr || (slots[i] == Py_None && in.arity == Arity::kOptional)) {
      if (in.arity == Arity::kOptional) continue;
      throw Error(ErrorCode::kTypeError, std::string(op.name),
                  StrCat("input '", in.name, "' is missing"));
    }
    if (in.arity != Arity::kVariadic) {
      operands.push_back(ReadOperand(slots[i], in.promote, trace != nullptr));
      continue;
    }
    if (!PyList_Check(slots[i]) && !PyTuple_Check(slots[i])) {
      throw Error(ErrorCode::kTypeError, std::string(op.name),
                  StrCat("'", in.name, "' must be a list or tuple of tensors"));
    }
    for (py::handle item : py::reinterpret_borrow<py::object>(slots[i])) {
      operands.push_back(ReadOperand(item.ptr(), in.promote, trace != nullptr));
    }
  }
  std::vector<Attr> attrs;
  attrs.reserve(op.attrs.size());
  for (size_t i = 0; i < op.attrs.size(); ++i) {
    PyObject* value = slots[op.inputs.size() + i];
    attrs.push_back(value == nullptr ? Default(op, i)
                                     : AttrFromPython(op, static_cast<int>(i), value));
  }
  const DType common = CommonDType(op.name, operands);
  bool traced = std::any_of(operands.begin(), operands.end(),
                            [&](const Operand& o) { return BelongsTo(trace, o); });
  for (size_t i = 0; trace != nullptr && !traced && i < attrs.size(); ++i) {
    const Shape* shape = std::get_if<Shape>(&attrs[i]);
    traced = shape != nullptr && !shape->is_static();  // zeros(batch): no operand, but no value yet
  }
  if (traced) return Record(*trace, op, operands, std::move(attrs), common);
  return RunNow(op, operands, attrs, common);
}

}  // namespace

PyObject* CallOp(const OpDef& op, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  try {
    return Call(op, args, nargs, names);
  } catch (Error& e) {
    if (e.op().empty()) {
      Error named(e.code(), std::string(op.name), e.message());
      try {
        throw named.At(e.location().empty() ? ShortLocation(CaptureLocation()) : e.location());
      } catch (...) {
        SetPythonError();
      }
    } else {
      e.At(ShortLocation(CaptureLocation()));
      SetPythonError();
    }
  } catch (...) {
    SetPythonError();
  }
  return nullptr;
}

DType ResultType(std::span<PyObject* const> objects) {
  constexpr std::string_view kName = "result_type";
  if (objects.empty()) {
    throw Error(ErrorCode::kTypeError, std::string(kName),
                "needs at least one tensor, dtype or number");
  }
  std::vector<Operand> operands;
  for (PyObject* object : objects) {
    if (py::isinstance<DType>(object) || PyUnicode_Check(object) || PyType_Check(object)) {
      Operand o;
      o.dtype = DTypeFromPython(object);
      operands.push_back(std::move(o));
    } else {
      operands.push_back(ReadOperand(object, /*promote=*/true, /*tracing=*/false));
    }
  }
  return CommonDType(kName, operands);
}

Attr AttrFromPython(const OpDef& op, int index, PyObject* value) {
  const AttrDef& def = op.attrs[index];
  const auto fail = [&]() -> Attr {
    throw Error(ErrorCode::kTypeError, std::string(op.name),
                StrCat("'", def.name, "' must be ", Name(def.type), ", but ",
                       std::string(py::repr(value)), " was given"));
  };
  const auto as_int = [&](PyObject* o) -> int64_t {
    if (PyLong_Check(o) && !PyBool_Check(o)) return PyLong_AsLongLong(o);
    if (PyObject* n = PyNumber_Index(o)) {
      const int64_t i = PyLong_AsLongLong(n);
      Py_DECREF(n);
      return i;
    }
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    fail();
    return 0;
  };
  switch (def.type) {
    case AttrType::kBool:
      if (!PyBool_Check(value)) return fail();
      return value == Py_True;
    case AttrType::kInt: return as_int(value);
    case AttrType::kFloat: {
      if (!PyFloat_Check(value) && !PyLong_Check(value)) {
        py::object number = py::reinterpret_steal<py::object>(PyNumber_Float(value));
        if (!number) {
          PyErr_Clear();
          return fail();
        }
        return PyFloat_AsDouble(number.ptr());
      }
      return PyFloat_AsDouble(value);
    }
    case AttrType::kString:
      if (!PyUnicode_Check(value)) return fail();
      return std::string(PyUnicode_AsUTF8(value));
    case AttrType::kDType: return DTypeFromPython(value);
    case AttrType::kInts: {
      std::vector<int64_t> ints;
      if (value == Py_None) return ints;
      if (PyTuple_Check(value) || PyList_Check(value)) {
        for (py::handle item : py::reinterpret_borrow<py::object>(value)) {
          ints.push_back(as_int(item.ptr()));
        }
      } else {
        ints.push_back(as_int(value));
      }
      return ints;
    }
    case AttrType::kShape: {
      Shape shape;
      const auto append = [&](py::handle item) {
        if (py::isinstance<Dim>(item)) {
          shape.Append(item.cast<Dim>());
          return;
        }
        const int64_t n = as_int(item.ptr());
        if (n < 0) {
          throw Error(ErrorCode::kInvalidArgument, std::string(op.name),
                      StrCat("'", def.name, "' holds ", n, "; sizes are 0 or more"));
        }
        shape.Append(n);
      };
      if (PyTuple_Check(value) || PyList_Check(value)) {
        for (py::handle item : py::reinterpret_borrow<py::object>(value)) append(item);
      } else {
        append(value);
      }
      return shape;
    }
    case AttrType::kTensor:
      if (PyTensor* t = AsPyTensor(value)) return RequireData(*t, "a constant").OnHost();
      return TensorFromArray(value, /*copy=*/true);
    case AttrType::kBody: break;
  }
  return fail();
}

}  // namespace ostria
