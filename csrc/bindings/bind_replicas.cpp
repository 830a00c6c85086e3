// SPDX-License-Identifier: Apache-2.0
// Groups of replicas for Python: they are made there, and run in C++ threads.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "dist/local.h"
#include "runtime/replica_group.h"

namespace py = pybind11;

namespace ostria {
namespace {

// Its threads may hold what wants the interpreter's lock when they end.
void Drop(ReplicaGroup* group) {
  if (PyGILState_Check() == 0) {
    delete group;
    return;
  }
  const py::gil_scoped_release release;
  delete group;
}

std::shared_ptr<ReplicaGroup> LocalReplicas(const std::vector<std::string>& names,
                                            double timeout_s) {
  std::vector<DeviceId> devices;
  for (const std::string& name : names) devices.push_back(ParseDevice(name));
  const auto timeout = std::chrono::milliseconds(static_cast<int64_t>(timeout_s * 1e3));
  const auto connect = [devices, timeout] {
    std::vector<std::string> ranks;
    for (DeviceId d : devices) ranks.push_back(ToString(d));
    auto group = MakeLocalGroup(std::move(ranks));
    for (const auto& rank : group) rank->set_timeout(timeout);
    return group;
  };
  return {new ReplicaGroup(devices, connect), Drop};
}

}  // namespace

void BindReplicas(py::module_& m) {
  py::class_<ReplicaGroup, std::shared_ptr<ReplicaGroup>>(m, "ReplicaGroup")
      .def_property_readonly("devices", [](const ReplicaGroup& group) {
        std::vector<std::string> names;
        for (DeviceId d : group.devices()) names.push_back(ToString(d));
        return names;
      });
  m.def("local_replicas", &LocalReplicas, py::arg("devices"), py::arg("timeout_s"),
        "One replica on each device, all in this process. `timeout_s`: how long one waits for the "
        "others in an exchange.");
}

}  // namespace ostria
