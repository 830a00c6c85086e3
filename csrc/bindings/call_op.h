// SPDX-License-Identifier: Apache-2.0
// The one way from a Python call to an op: arguments to operands and attributes, promotion, then
// either a node of the current trace or an eager run.
#pragma once

#include <Python.h>

#include <span>
#include <vector>

#include "ir/op_def.h"

namespace ostria {

/// `args` as in METH_FASTCALL | METH_KEYWORDS: inputs and attributes by position or by name. New
/// reference: a Tensor, or a tuple of them. Sets a Python error and returns nullptr on failure.
PyObject* CallOp(const OpDef& op, PyObject* const* args, Py_ssize_t nargs, PyObject* names);

/// The dtype that ops give these operands in common: tensors, variables, arrays, dtypes and
/// numbers. Throws Error(kTypeError) when they are of different kinds.
DType ResultType(std::span<PyObject* const> objects);

/// Converts a Python value to an attribute of the declared type; throws Error(kTypeError).
Attr AttrFromPython(const OpDef& op, int index, PyObject* value);
PyObject* AttrToPython(const Attr& attr);

/// Sets the Python error for the exception in flight: call in a catch-all block.
void SetPythonError();

}  // namespace ostria
