// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include "backend/backend.h"
#include "backend/load_library.h"
#include "base/parallel.h"
#include "bindings/bind_dist.h"
#include "bindings/bindings.h"
#include "bindings/trace.h"
#include "core/host_memory.h"
#include "runtime/eager.h"

PYBIND11_MODULE(_native, m) {
  m.doc() = "The C++ half of ostria. Use the ostria package; names here may change.";
  ostria::RegisterBackends();
  ostria::BindErrors(m);
  ostria::BindTensor(m);
  ostria::BindDlpack(m);
  ostria::BindVariable(m);
  ostria::BindOps(m);
  ostria::BindTrace(m);
  ostria::BindControl(m);
  ostria::BindReplicas(m);
  ostria::BindCompiled(m);
  ostria::BindDevices(m);
  ostria::BindDiagnosis(m);
  ostria::BindIo(m);
  ostria::BindData(m);
  ostria::BindDist(m);
  m.def("set_own_folders", &ostria::SetOwnFolders);
  m.def("set_wheel_folders", &ostria::SetWheelFolders);
  m.def("num_threads", &ostria::NumThreads);
  m.def("set_num_threads", &ostria::SetNumThreads);
  m.def("set_eager_debug", &ostria::SetEagerDebug);
  m.def("empty_cache", &ostria::EmptyHostCache);
  m.def("memory_stats", [] {
    const ostria::HostMemoryStats s = ostria::GetHostMemoryStats();
    return pybind11::dict(pybind11::arg("in_use") = s.in_use, pybind11::arg("peak") = s.peak,
                          pybind11::arg("cached") = s.cached);
  });
  m.def("fork_join_ns", &ostria::ForkJoinNanoseconds, pybind11::arg("repeats"));
}
