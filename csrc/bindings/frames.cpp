// SPDX-License-Identifier: Apache-2.0
// From Python frames to locations. Only (code, instruction) is taken while tracing; lines are
// looked up when a message needs them. Code objects that were seen are kept alive for good: there
// are few.
#include <Python.h>
#include <frameobject.h>

#include <string>
#include <unordered_map>

#include "bindings/trace.h"

namespace ostria {
namespace {

std::string& PackageFolder() {
  static std::string* folder = new std::string;
  return *folder;
}

bool IsOurs(PyCodeObject* code) {
  static auto* known = new std::unordered_map<PyCodeObject*, bool>;  // guarded by the GIL
  const auto it = known->find(code);
  if (it != known->end()) return it->second;
  const char* file = PyUnicode_AsUTF8(code->co_filename);
  const bool ours = file == nullptr || PackageFolder().empty() ||
                    std::string_view(file).starts_with(PackageFolder()) ||
                    std::string_view(file).starts_with("<frozen") ||
                    std::string_view(file).find("/site-packages/numpy/") != std::string_view::npos;
  PyErr_Clear();
  Py_INCREF(code);
  known->emplace(code, ours);
  return ours;
}

SourceLine Resolve(const Frame& frame) {
  const pybind11::gil_scoped_acquire gil;
  auto* code = static_cast<PyCodeObject*>(const_cast<void*>(frame.code));
  SourceLine line;
  if (const char* file = PyUnicode_AsUTF8(code->co_filename)) line.file = file;
  if (const char* name = PyUnicode_AsUTF8(code->co_qualname)) line.function = name;
  PyErr_Clear();
  line.line = PyCode_Addr2Line(code, frame.instruction);
  return line;
}

}  // namespace

void SetPackageFolder(const std::string& folder) {
  PackageFolder() = folder;
  SetFrameResolver(Resolve);
}

LocationId CaptureLocation() {
  Frame frames[kMaxFrames];
  int count = 0;
  PyFrameObject* frame = PyThreadState_GetFrame(PyThreadState_Get());
  while (frame != nullptr && count < kMaxFrames) {
    PyCodeObject* code = PyFrame_GetCode(frame);
    if (!IsOurs(code)) frames[count++] = {code, PyFrame_GetLasti(frame)};
    Py_DECREF(code);  // IsOurs keeps one reference for ever
    PyFrameObject* back = PyFrame_GetBack(frame);
    Py_DECREF(frame);
    frame = back;
  }
  Py_XDECREF(frame);
  return InternFrames({frames, static_cast<size_t>(count)});
}

}  // namespace ostria
