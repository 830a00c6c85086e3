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

struct Folders {
  std::string package, standard_library;
};
Folders& NotTheUsers() {
  static auto* folders = new Folders;
  return *folders;
}

bool IsIn(std::string_view file, std::string_view folder) {
  return !folder.empty() && file.starts_with(folder) && file.substr(folder.size()).starts_with('/');
}

bool IsOurs(PyCodeObject* code) {
  static auto* known = new std::unordered_map<PyCodeObject*, bool>;  // guarded by the GIL
  const auto it = known->find(code);
  if (it != known->end()) return it->second;
  const char* const name = PyUnicode_AsUTF8(code->co_filename);
  const std::string_view file = name == nullptr ? "" : name;
  const auto has = [&](std::string_view part) { return file.find(part) != std::string_view::npos; };
  const bool installed = has("/site-packages/") || has("/dist-packages/");
  const Folders& folders = NotTheUsers();
  // The standard library runs what is ours: context managers, callbacks, threads.
  const bool ours = name == nullptr || folders.package.empty() || IsIn(file, folders.package) ||
                    file.starts_with("<frozen") || has("/site-packages/numpy/") ||
                    (!installed && IsIn(file, folders.standard_library));
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

void SetOwnFolders(const std::string& package, const std::string& standard_library) {
  NotTheUsers() = {package, standard_library};
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
