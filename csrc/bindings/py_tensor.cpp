// SPDX-License-Identifier: Apache-2.0
// The Tensor class: data in and out, and the operators, which go straight to CallOp through type
// slots.
#include "bindings/py_tensor.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>

#include "base/check.h"
#include "bindings/call_op.h"
#include "bindings/py_variable.h"
#include "bindings/trace.h"
#include "ops/ops.h"

namespace py = pybind11;

namespace ostria {
namespace {

PyTypeObject* tensor_type = nullptr;
PyTypeObject* variable_type = nullptr;

template <class T>
T* Held(PyObject* object) {
  auto* instance = reinterpret_cast<py::detail::instance*>(object);
  return static_cast<T*>(instance->get_value_and_holder().value_ptr());
}

// NumPy's letter of a dtype; bfloat16 has none of its own.
py::dtype NumpyDType(DType t) {
  static constexpr const char* kCodes[] = {"?",  "i1", "i2", "i4", "i8", "u1", "u2",
                                           "u4", "u8", "f2", "",   "f4", "f8"};
  if (t == DType::kBFloat16) {
    try {
      return py::dtype::from_args(py::module_::import("ml_dtypes").attr("bfloat16"));
    } catch (py::error_already_set&) {
      Fail(ErrorCode::kTypeError,
           "NumPy has no bfloat16; install the ml_dtypes package, or use ost.cast(x, ost.float32)");
    }
  }
  return py::dtype(kCodes[static_cast<int>(t)]);
}

DType FromNumpy(const py::dtype& d) {
  const std::string name = py::str(d.attr("name"));
  DType t;
  if (!ParseDType(name, &t)) {
    Fail(ErrorCode::kTypeError, "a NumPy array of dtype ", name,
         " has no tensor dtype; accepted are bool, (u)int8 to (u)int64, float16, bfloat16, float32 "
         "and float64; use array.astype(...)");
  }
  if (!py::bool_(d.attr("isnative"))) {
    Fail(ErrorCode::kTypeError, "a NumPy array of foreign byte order (", std::string(py::str(d)),
         "); use array.astype(array.dtype.newbyteorder('='))");
  }
  return t;
}

// Operators: the slots of both types. Either operand may be the tensor.
template <const OpDef* kOp>
PyObject* Binary(PyObject* a, PyObject* b) {
  PyObject* args[] = {a, b};
  return CallOp(*kOp, args, 2, nullptr);
}
template <const OpDef* kOp>
PyObject* Unary(PyObject* a) {
  return CallOp(*kOp, &a, 1, nullptr);
}
PyObject* Power(PyObject* a, PyObject* b, PyObject*) { return Binary<&ops::kPow>(a, b); }

PyObject* Compare(PyObject* a, PyObject* b, int op) {
  static const OpDef* const kOps[] = {&ops::kLess,     &ops::kLessEqual, &ops::kEqual,
                                      &ops::kNotEqual, &ops::kGreater,   &ops::kGreaterEqual};
  if (b == Py_None || PyUnicode_Check(b)) {
    Py_INCREF(Py_NotImplemented);
    return Py_NotImplemented;
  }
  PyObject* args[] = {a, b};
  return CallOp(*kOps[op], args, 2, nullptr);
}

// The operators as methods, x.__add__(y): Python makes these of a slot only where a type is
// created.
template <const OpDef* kOp>
PyObject* Reflected(PyObject* self, PyObject* other) {
  return Binary<kOp>(other, self);
}
template <const OpDef* kOp>
PyObject* Nullary(PyObject* self, PyObject*) {
  return Unary<kOp>(self);
}
template <int kCompare>
PyObject* Comparison(PyObject* self, PyObject* other) {
  return Compare(self, other, kCompare);
}
constexpr PyMethodDef Method(const char* name, PyCFunction function, int flags) {
  return {name, function, flags, nullptr};
}
#define OSTRIA_OPERATOR(name, op)                   \
  Method("__" name "__", Binary<&ops::op>, METH_O), \
      Method("__r" name "__", Reflected<&ops::op>, METH_O)
PyMethodDef operator_methods[] = {
    OSTRIA_OPERATOR("add", kAdd),
    OSTRIA_OPERATOR("sub", kSubtract),
    OSTRIA_OPERATOR("mul", kMultiply),
    OSTRIA_OPERATOR("truediv", kDivide),
    OSTRIA_OPERATOR("floordiv", kFloorDivide),
    OSTRIA_OPERATOR("mod", kRemainder),
    OSTRIA_OPERATOR("pow", kPow),
    OSTRIA_OPERATOR("and", kBitwiseAnd),
    OSTRIA_OPERATOR("or", kBitwiseOr),
    OSTRIA_OPERATOR("xor", kBitwiseXor),
    OSTRIA_OPERATOR("lshift", kBitwiseLeftShift),
    OSTRIA_OPERATOR("rshift", kBitwiseRightShift),
    Method("__neg__", Nullary<&ops::kNegative>, METH_NOARGS),
    Method("__abs__", Nullary<&ops::kAbs>, METH_NOARGS),
    Method("__invert__", Nullary<&ops::kBitwiseInvert>, METH_NOARGS),
    Method("__lt__", Comparison<Py_LT>, METH_O),
    Method("__le__", Comparison<Py_LE>, METH_O),
    Method("__eq__", Comparison<Py_EQ>, METH_O),
    Method("__ne__", Comparison<Py_NE>, METH_O),
    Method("__gt__", Comparison<Py_GT>, METH_O),
    Method("__ge__", Comparison<Py_GE>, METH_O),
};
#undef OSTRIA_OPERATOR

void InstallOperators(PyTypeObject* type) {
  PyNumberMethods& n = *type->tp_as_number;
  n.nb_add = Binary<&ops::kAdd>;
  n.nb_subtract = Binary<&ops::kSubtract>;
  n.nb_multiply = Binary<&ops::kMultiply>;
  n.nb_true_divide = Binary<&ops::kDivide>;
  n.nb_floor_divide = Binary<&ops::kFloorDivide>;
  n.nb_remainder = Binary<&ops::kRemainder>;
  n.nb_power = Power;
  n.nb_negative = Unary<&ops::kNegative>;
  n.nb_absolute = Unary<&ops::kAbs>;
  n.nb_and = Binary<&ops::kBitwiseAnd>;
  n.nb_or = Binary<&ops::kBitwiseOr>;
  n.nb_xor = Binary<&ops::kBitwiseXor>;
  n.nb_lshift = Binary<&ops::kBitwiseLeftShift>;
  n.nb_rshift = Binary<&ops::kBitwiseRightShift>;
  n.nb_invert = Unary<&ops::kBitwiseInvert>;
  type->tp_richcompare = Compare;
  type->tp_hash = [](PyObject* self) -> Py_hash_t {  // by identity: == gives a tensor
    return static_cast<Py_hash_t>(reinterpret_cast<uintptr_t>(self) >> 4);
  };
  // Beside the slots, not by setattr, which would put a slower lookup into them.
  for (PyMethodDef& method : operator_methods) {
    const auto descriptor = py::reinterpret_steal<py::object>(PyDescr_NewMethod(type, &method));
    if (PyDict_SetItemString(type->tp_dict, method.ml_name, descriptor.ptr()) != 0) {
      throw py::error_already_set();
    }
  }
  PyType_Modified(type);
}

// Where it lies on a device, other threads go on while it is waited for.
Tensor WaitForHost(const Tensor& t) {
  if (t.on_host()) return t;
  const py::gil_scoped_release release;
  return t.OnHost();
}

py::tuple ShapeTuple(const Shape& shape) {
  py::tuple out(shape.rank());
  for (int i = 0; i < shape.rank(); ++i) {
    out[i] = shape[i].is_static() ? py::object(py::int_(shape[i].value())) : py::cast(shape[i]);
  }
  return out;
}

py::object Item(const PyTensor& t) {
  const Tensor data = WaitForHost(RequireData(t, "item()"));
  if (data.numel() != 1) {
    Fail(ErrorCode::kInvalidArgument, "item(): a tensor of shape ", data.shape(), " holds ",
         data.numel(), " elements; only a tensor of one element is a number; use numpy()");
  }
  return DispatchDType(data.dtype(), [&]<class T>(T*) -> py::object {
    const T x = *data.data<T>();
    if constexpr (std::is_same_v<T, bool>)
      return py::bool_(x);
    else if constexpr (std::is_integral_v<T>)
      return py::int_(x);
    else
      return py::float_(static_cast<double>(
          static_cast<std::conditional_t<std::is_same_v<T, double>, double, float>>(x)));
  });
}

}  // namespace

void RegisterVariableType(PyTypeObject* type) {
  variable_type = type;
  InstallOperators(type);
}

PyTensor* AsPyTensor(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  if (type != tensor_type && !PyType_IsSubtype(type, tensor_type)) return nullptr;
  return Held<PyTensor>(object);
}

const std::shared_ptr<Variable>* AsPyVariable(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  if (type != variable_type && !PyType_IsSubtype(type, variable_type)) return nullptr;
  auto* instance = reinterpret_cast<py::detail::instance*>(object);
  return &instance->get_value_and_holder().holder<std::shared_ptr<Variable>>();
}

PyObject* NewPyTensor(PyTensor tensor) { return py::cast(std::move(tensor)).release().ptr(); }

const Tensor& RequireData(const PyTensor& t, std::string_view what) {
  if (t.has_data()) return t.concrete;
  if (!t.trace->open()) FailLeaked(t, what);
  const std::string made = ShortLocation(t.trace->graph().location(t.value));
  const std::string where = made.empty() ? "" : StrCat(", made at ", made);
  Fail(ErrorCode::kTypeError, what.empty() ? "this act" : what,
       " needs the value of a traced tensor (", t.type, where,
       "), which is not known while the function is traced; use ost.where or ost.maximum for a "
       "choice by value, and ost.compile(fn, eager=True) to look at values");
}

void FailLeaked(const PyTensor& t, std::string_view what) {
  const std::string made = ShortLocation(t.trace->graph().location(t.value));
  Fail(ErrorCode::kInvalidArgument, what, what.empty() ? "" : ": ", "a traced value (", t.type,
       made.empty() ? "" : StrCat(", made at ", made),
       ") is used after its trace has ended; return it from the compiled function, or assign it to "
       "an ost.Variable");
}

Tensor TensorFromArray(py::handle object, bool copy) {
  py::array a = py::array::ensure(object, py::array::c_style);
  const bool given = py::isinstance<py::array>(object) || py::hasattr(object, "dtype");
  static constexpr std::string_view kNumbers = "biuf";
  if (!a || (!given && kNumbers.find(a.dtype().kind()) == std::string_view::npos)) {
    PyErr_Clear();
    const bool nested = PyList_Check(object.ptr()) || PyTuple_Check(object.ptr());
    Fail(ErrorCode::kTypeError, "cannot make a tensor of ", std::string(py::repr(object)), " (",
         std::string(py::str(py::type::of(object).attr("__name__"))), ")",
         nested
             ? "; nested lists must hold numbers only, and as many in each row"
             : "; give a Tensor, a Variable, a number, a NumPy array or nested lists of numbers");
  }
  if (!py::isinstance<py::array>(object) && a.dtype().kind() == 'f' &&
      !py::hasattr(object, "dtype")) {
    a = py::array::ensure(a.attr("astype")("float32"), py::array::c_style);  // lists of floats
  }
  const DType dtype = FromNumpy(a.dtype());
  Shape shape;
  for (py::ssize_t i = 0; i < a.ndim(); ++i) shape.Append(a.shape(i));
  const auto bytes = static_cast<size_t>(a.nbytes());
  const bool aligned = reinterpret_cast<uintptr_t>(a.data()) % SizeOf(dtype) == 0;
  if (copy || !aligned || bytes == 0) {
    Tensor t = Tensor::Empty(dtype, shape);
    if (bytes > 0) std::memcpy(t.raw(), a.data(), bytes);
    return t;
  }
  PyObject* owner = a.inc_ref().ptr();
  return Tensor(dtype, shape, Buffer::Borrow(const_cast<void*>(a.data()), bytes, [owner] {
                  if (!Py_IsInitialized()) return;
                  const py::gil_scoped_acquire gil;
                  Py_DECREF(owner);
                }));
}

py::object ArrayFromTensor(const Tensor& source) {
  const Tensor tensor = WaitForHost(source);
  std::vector<py::ssize_t> shape;
  for (Dim d : tensor.shape()) shape.push_back(d.value());
  auto* keep = new std::shared_ptr<Buffer>(tensor.buffer());
  py::capsule base(keep, [](void* p) { delete static_cast<std::shared_ptr<Buffer>*>(p); });
  py::array a(NumpyDType(tensor.dtype()), shape, tensor.raw(), base);
  py::detail::array_proxy(a.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return a;
}

DType DTypeFromPython(py::handle object) {
  if (py::isinstance<DType>(object)) return object.cast<DType>();
  if (py::isinstance<py::str>(object)) {
    DType t;
    const auto name = object.cast<std::string>();
    if (ParseDType(name, &t)) return t;
    std::string names;
    for (const DTypeInfo& info : kDTypeInfo) names += StrCat(names.empty() ? "" : ", ", info.name);
    Fail(ErrorCode::kTypeError, "'", name, "' names no dtype; accepted are ", names);
  }
  if (object.ptr() == reinterpret_cast<PyObject*>(&PyFloat_Type)) return DType::kFloat32;
  if (object.ptr() == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::kInt64;
  if (object.ptr() == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::kBool;
  try {
    return FromNumpy(py::dtype::from_args(py::reinterpret_borrow<py::object>(object)));
  } catch (py::error_already_set&) {
    Fail(ErrorCode::kTypeError, std::string(py::repr(object)),
         " is no dtype; give one such as ost.float32, 'float32' or np.float32");
  }
}

py::object DTypeObject(DType dtype) { return py::cast(dtype); }

void BindTensor(py::module_& m) {
  py::class_<DType> dtype(m, "DType", "The type of a tensor's elements.");
  dtype.def_property_readonly("name", [](DType t) { return std::string(Name(t)); })
      .def_property_readonly(
          "itemsize", [](DType t) { return SizeOf(t); }, "Bytes per element.")
      .def_property_readonly(
          "kind",
          [](DType t) {
            static constexpr const char* kKinds[] = {"bool", "signed", "unsigned", "float"};
            return kKinds[static_cast<int>(KindOf(t))];
          })
      .def(
          "numpy", [](DType t) { return NumpyDType(t); }, "The NumPy dtype.")
      .def("__repr__", [](DType t) { return StrCat("ostria.", t); })
      .def("__str__", [](DType t) { return std::string(Name(t)); })
      .def("__hash__", [](DType t) { return static_cast<int>(t) + 1; })
      .def("__eq__",
           [](DType t, const py::object& other) {
             try {
               return !other.is_none() && DTypeFromPython(other) == t;
             } catch (Error&) {
               return false;
             }
           })
      .def("__reduce__", [](DType t) {
        return py::make_tuple(py::module_::import("ostria").attr("dtype"),
                              py::make_tuple(std::string(Name(t))));
      });
  py::list all;
  for (int i = 0; i < kNumDTypes; ++i) {
    const py::object t = py::cast(static_cast<DType>(i));
    m.attr(i == 0 ? "bool_" : std::string(kDTypeInfo[i].name).c_str()) = t;
    all.append(t);
  }
  m.attr("dtypes") = all;
  m.attr("max_rank") = kMaxRank;
  m.def(
      "dtype", [](const py::object& o) { return DTypeFromPython(o); }, py::arg("object"),
      "The dtype that `object` means: a DType, a name, a Python type or a NumPy dtype.");

  py::class_<Dim>(m, "SymInt", "A size that is not known while tracing, such as the batch.")
      .def(py::init([](int64_t size) {
        if (size < 0)
          Fail(ErrorCode::kInvalidArgument, "a size is 0 or more, ", size, " was given");
        return Dim(size);
      }))
      .def("__repr__", [](Dim d) { return ToString(d); })
      .def("__hash__", [](Dim d) { return d.code(); })
      .def("__eq__", [](Dim a, Dim b) { return a == b; })
      .def("__eq__", [](Dim a, int64_t b) { return Equal(a, Dim(b)) == Tri::kYes; })
      .def("__add__", [](Dim a, int64_t b) { return b < 0 ? a - Dim(-b) : a + Dim(b); })
      .def("__add__", [](Dim a, Dim b) { return a + b; })
      .def("__radd__", [](Dim a, Dim b) { return b + a; })
      .def("__sub__", [](Dim a, Dim b) { return a - b; })
      .def("__rsub__", [](Dim a, Dim b) { return b - a; })
      .def("__mul__", [](Dim a, Dim b) { return a * b; })
      .def("__rmul__", [](Dim a, Dim b) { return b * a; })
      .def("__floordiv__", [](Dim a, Dim b) { return FloorDiv(a, b); })
      .def("__mod__", [](Dim a, Dim b) { return Mod(a, b); })
      .def("_value", [](Dim d) -> py::object {
        return d.is_static() ? py::object(py::int_(d.value())) : py::object(py::none());
      });
  py::implicitly_convertible<py::int_, Dim>();

  py::class_<PyTensor> tensor(m, "Tensor", py::dynamic_attr(),
                              "A dense, row-major, immutable array on a device.");
  tensor
      .def_property_readonly(
          "shape", [](const PyTensor& t) { return ShapeTuple(t.type.shape); },
          "Sizes; a SymInt where tracing does not know one.")
      .def_property_readonly("dtype", [](const PyTensor& t) { return t.type.dtype; })
      .def_property_readonly("ndim", [](const PyTensor& t) { return t.type.shape.rank(); })
      .def_property_readonly("device",
                             [](const PyTensor& t) { return ToString(t.concrete.device()); })
      .def_property_readonly(
          "size",
          [](const PyTensor& t) -> py::object {
            const Dim n = t.type.shape.numel_dim();
            return n.is_static() ? py::object(py::int_(n.value())) : py::cast(n);
          },
          "Number of elements.")
      .def_property_readonly("is_traced", [](const PyTensor& t) { return !t.has_data(); })
      .def(
          "numpy", [](const PyTensor& t) { return ArrayFromTensor(RequireData(t, "numpy()")); },
          "A read-only NumPy view of the data (no copy, but of a device's tensor).")
      .def("item", &Item, "The only element as a Python number.")
      .def("_location", [](const PyTensor& t) {
        return t.trace ? ShortLocation(t.trace->graph().location(t.value)) : std::string();
      });
  tensor_type = reinterpret_cast<PyTypeObject*>(tensor.ptr());
  InstallOperators(tensor_type);

  m.def(
      "tensor_from_array",
      [](const py::object& o, bool copy) { return PyTensor::Concrete(TensorFromArray(o, copy)); },
      py::arg("array"), py::arg("copy"));
  m.def(
      "require_data", [](const PyTensor& t, const std::string& act) { RequireData(t, act); },
      "Raises the error about values that are not known while tracing.");
  m.def("scalar_tensor",
        [](double value, DType dtype) { return PyTensor::Concrete(Tensor::Scalar(dtype, value)); });
}

}  // namespace ostria
