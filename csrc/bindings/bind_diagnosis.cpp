// SPDX-License-Identifier: Apache-2.0
// What `ostria doctor` asks: what was found of the libraries and devices, as dictionaries.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "backend/backend.h"
#include "backend/load_library.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace ostria {
namespace {

py::list Diagnose(DeviceKind kind) {
  std::vector<Diagnosis> parts;
  {
    const py::gil_scoped_release release;
    parts = FindBackend(kind).Describe();
  }
  constexpr const char* kStates[] = {"works", "missing", "broken"};
  py::list out;
  for (const Diagnosis& d : parts) {
    out.append(py::dict(py::arg("title") = d.title, py::arg("text") = d.text,
                        py::arg("state") = kStates[static_cast<int>(d.state)],
                        py::arg("path") = d.path, py::arg("found") = d.found,
                        py::arg("needed") = d.needed));
  }
  return out;
}

}  // namespace

void BindDiagnosis(py::module_& m) {
  m.def("build_id", &OwnBuildId, "Of libostria.so; libostria_cuda.so must have the same.");
  m.def(
      "find_cuda_library",
      [] {
        const FoundLibrary found = FindCudaLibrary();
        return py::dict(py::arg("path") = found.path, py::arg("build_id") = found.build_id,
                        py::arg("error") = found.error);
      },
      "What there is of libostria_cuda.so; 'error' is empty where it is of use.");
  m.def("diagnose_cpu", [] { return Diagnose(DeviceKind::kCpu); });
  m.def(
      "diagnose_cuda", [] { return Diagnose(DeviceKind::kCuda); },
      "NVIDIA's libraries and the devices; raises where the CUDA backend cannot be loaded.");
}

}  // namespace ostria
