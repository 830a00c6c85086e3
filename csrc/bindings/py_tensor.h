// SPDX-License-Identifier: Apache-2.0
// PyTensor: what Python knows as ostria.Tensor. Holds a concrete tensor, a value of a trace, or
// (while a tape records) both. Immutable.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "core/tensor.h"
#include "ir/graph.h"

namespace ostria {

class Trace;

struct PyTensor {
  Tensor concrete;               // undefined for a traced value
  std::shared_ptr<Trace> trace;  // null for a plain tensor
  Value value;                   // in trace
  ValueType type;

  static PyTensor Concrete(Tensor t) {
    PyTensor p;
    p.type = {t.dtype(), t.shape()};
    p.concrete = std::move(t);
    return p;
  }
  bool has_data() const { return concrete.defined(); }
};

/// The PyTensor inside `object`, or nullptr when it is none. Borrowed.
PyTensor* AsPyTensor(PyObject* object);
PyObject* NewPyTensor(PyTensor tensor);

/// A tensor of a NumPy array (or anything np.asarray takes). Shares memory with a C-contiguous
/// array unless `copy`; throws Error(kTypeError) for dtypes without a counterpart.
Tensor TensorFromArray(pybind11::handle object, bool copy);
/// A read-only NumPy view, of a copy where the tensor is on a device; bfloat16 needs the ml_dtypes
/// package.
pybind11::object ArrayFromTensor(const Tensor& tensor);

/// DType from a dtype object of ours, a NumPy dtype, a type such as float, or a name.
DType DTypeFromPython(pybind11::handle object);
/// The ostria.DType object of `dtype`.
pybind11::object DTypeObject(DType dtype);

/// Data of a tensor that must not be traced; `what` is the user's act ("float()"), for the message.
const Tensor& RequireData(const PyTensor& tensor, std::string_view what);

/// Throws the error about a traced value whose trace is over; `what` as above, or "".
[[noreturn]] void FailLeaked(const PyTensor& tensor, std::string_view what);

/// Gives the Variable class the operators of tensors and makes AsPyVariable know it.
void RegisterVariableType(PyTypeObject* type);

void BindTensor(pybind11::module_& m);
void BindDlpack(pybind11::module_& m);

}  // namespace ostria
