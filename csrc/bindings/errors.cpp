// SPDX-License-Identifier: Apache-2.0
// Error codes to Python exception classes.
#include <pybind11/pybind11.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/call_op.h"
#include "bindings/trace.h"
#include "dist/control/peer_failure.h"

namespace py = pybind11;

namespace ostria {
namespace {

PyObject *out_of_memory, *device_unavailable, *distributed, *peer_failed, *data_corruption,
    *non_finite;

PyObject* ClassOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return PyExc_ValueError;
    case ErrorCode::kTypeError: return PyExc_TypeError;
    case ErrorCode::kIndexError: return PyExc_IndexError;
    case ErrorCode::kNotImplemented: return PyExc_NotImplementedError;
    case ErrorCode::kOutOfMemory: return out_of_memory;
    case ErrorCode::kDeviceUnavailable: return device_unavailable;
    case ErrorCode::kDistributed: return distributed;
    case ErrorCode::kDataCorruption: return data_corruption;
    case ErrorCode::kIo: return PyExc_OSError;
    case ErrorCode::kNonFinite: return non_finite;
    case ErrorCode::kInternal: break;
  }
  return PyExc_RuntimeError;
}

// Mistakes of the caller end with the caller's line; the others name a file, a device or values.
bool NeedsLine(const Error& e) {
  const ErrorCode code = e.code();
  // A plan that is too large lists its values, each with the line that made it.
  if (code == ErrorCode::kOutOfMemory) return e.message().find('\n') == std::string::npos;
  return code == ErrorCode::kInvalidArgument || code == ErrorCode::kTypeError ||
         code == ErrorCode::kIndexError || code == ErrorCode::kNotImplemented ||
         code == ErrorCode::kDeviceUnavailable || code == ErrorCode::kNonFinite;
}

PyObject* NewClass(py::module_& m, const char* name, PyObject* base, const char* doc) {
  PyObject* cls = PyErr_NewExceptionWithDoc(StrCat("ostria.", name).c_str(), doc, base, nullptr);
  m.attr(name) = py::reinterpret_borrow<py::object>(cls);
  return cls;
}

void SetPeerFailed(const PeerFailedError& e) {
  const PeerFailure& f = e.failure();
  try {
    py::object error = py::reinterpret_borrow<py::object>(peer_failed)(e.what());
    error.attr("rank") = f.rank;
    error.attr("host") = f.host;
    error.attr("reason") = f.reason;
    error.attr("operation") = f.operation;
    PyErr_SetObject(peer_failed, error.ptr());
  } catch (py::error_already_set& other) {
    other.restore();
  }
}

}  // namespace

void SetPythonError() {
  try {
    throw;
  } catch (const PeerFailedError& e) {
    SetPeerFailed(e);
  } catch (Error& e) {
    if (NeedsLine(e)) e.At(ShortLocation(CaptureLocation()));
    PyErr_SetString(ClassOf(e.code()), e.what());
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const std::bad_alloc&) {
    PyErr_SetString(out_of_memory, "out of memory");
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
}

void BindErrors(py::module_& m) {
  out_of_memory = NewClass(m, "OutOfMemoryError", PyExc_MemoryError,
                           "A device refused memory, or a plan is larger than its limit.");
  device_unavailable = NewClass(m, "DeviceUnavailableError", PyExc_RuntimeError,
                                "A device was asked for that this machine does not have.");
  distributed = NewClass(m, "DistributedError", PyExc_RuntimeError,
                         "Another process of the job failed or disagrees.");
  peer_failed =
      NewClass(m, "PeerFailedError", distributed,
               "Another process of the job failed, so what waits for it cannot end.\n\n"
               "Attributes: `rank` (-1: none, such as a launcher), `host`, `reason` (what "
               "happened to it)\nand `operation` (the last one that it told of; '' if none).");
  const py::object cls = py::reinterpret_borrow<py::object>(peer_failed);
  cls.attr("rank") = -1;
  for (const char* name : {"host", "reason", "operation"}) cls.attr(name) = "";
  data_corruption = NewClass(m, "DataCorruptionError", PyExc_ValueError,
                             "A file is damaged; the message names it and the byte offset.");
  non_finite = NewClass(m, "NonFiniteError", PyExc_FloatingPointError,
                        "NaN or infinity where a finite number is needed.");
  // NOLINTNEXTLINE(performance-unnecessary-value-param): pybind11 wants this signature
  py::register_local_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error&) {
      SetPythonError();
    }
  });
}

}  // namespace ostria
