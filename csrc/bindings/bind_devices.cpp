// SPDX-License-Identifier: Apache-2.0
// Devices for Python: which there are, which one new tensors lie on, and copies between them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "backend/backend.h"
#include "bindings/bindings.h"
#include "bindings/device_name.h"
#include "bindings/py_tensor.h"
#include "runtime/eager.h"
#include "runtime/live_device.h"

namespace py = pybind11;

namespace ostria {
namespace {

std::vector<std::string> Devices() {
  std::vector<std::string> names = {ToString(DeviceId{})};
  int count = 0;
  try {
    count = FindBackend(DeviceKind::kCuda).NumDevices();
  } catch (const Error&) {  // no driver: whoever asks for 'cuda' is told why
  }
  for (int i = 0; i < count; ++i) {
    names.push_back(ToString(DeviceId{DeviceKind::kCuda, static_cast<int16_t>(i)}));
  }
  return names;
}

// Throws where there is no such device.
DeviceId FindDevice(DeviceName name, const char* what) {
  const DeviceId device = name.id;
  if (device.kind == DeviceKind::kNull) {
    Fail(ErrorCode::kInvalidArgument, what,
         ": device 'null' holds no tensors; accepted are 'cpu' "
         "and 'cuda:N'");
  }
  FindBackend(device.kind).Props(device.ordinal);
  return device;
}

PyTensor ToDevice(const PyTensor& tensor, DeviceName name) {
  const DeviceId device = FindDevice(name, "to_device()");
  const Tensor& data = RequireData(tensor, "to_device()");
  const py::gil_scoped_release release;
  LiveDevice* const live = LiveDevice::Of(device);
  return PyTensor::Concrete(live == nullptr ? data.OnHost() : live->ToDevice(data));
}

}  // namespace

void BindDevices(py::module_& m) {
  m.def("devices", &Devices, "The devices of this machine, the CPU first.");
  m.def(
      "device_name", [](DeviceName name) { return ToString(name.id); }, py::arg("name"),
      "The one name of a device, which need not be there: 'cpu' for 'cpu:0', 'cuda:0' for 'cuda'.");
  m.def(
      "require_device", [](DeviceName name) { FindDevice(name, "device"); }, py::arg("name"),
      "Raises why there is no such device.");
  m.def(
      "set_default_device",
      [](DeviceName name) {
        const bool is_null = name.id.kind == DeviceKind::kNull;
        SetDefaultDevice(is_null ? name.id : FindDevice(name, "set_default_device()"));
      },
      py::arg("name"), "Where this thread's ops run that have no tensor on a device.");
  m.def("get_default_device", [] { return ToString(GetDefaultDevice()); });
  m.def("to_device", &ToDevice, py::arg("tensor"), py::arg("device"),
        "The tensor itself where it is there already, else a copy.");
  m.def(
      "device_memory_stats",
      [](DeviceName name) {
        const DeviceId device = FindDevice(name, "device_memory_stats()");
        const MemoryStats s = FindBackend(device.kind).GetMemoryStats(device.ordinal);
        py::dict d;
        d["in_use"] = s.in_use;
        d["peak"] = s.peak;
        d["reserved"] = s.reserved;
        d["free"] = s.free;
        d["total"] = s.total;
        return d;
      },
      py::arg("device"), "Bytes of a device that computes by itself; zeros for the host.");
  m.def(
      "synchronize",
      [](DeviceName name) {
        LiveDevice* const live = LiveDevice::Of(FindDevice(name, "synchronize()"));
        const py::gil_scoped_release release;
        if (live != nullptr) live->Synchronize();
      },
      py::arg("device"), "Waits for the device's work; raises what it found wrong in data.");
}

}  // namespace ostria
