// SPDX-License-Identifier: Apache-2.0
// A device as Python names it: functions that take one say DeviceName, and whatever is no name is
// refused in one way. Whether there is such a device is asked by who uses it.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "base/error.h"
#include "core/device.h"

namespace ostria {

struct DeviceName {
  DeviceId id;
};

}  // namespace ostria

template <>
struct pybind11::detail::type_caster<ostria::DeviceName> {
  PYBIND11_TYPE_CASTER(ostria::DeviceName, const_name("str"));

  bool load(handle source, bool) {
    if (!isinstance<str>(source)) {
      ostria::Fail(ostria::ErrorCode::kTypeError, "device: ", std::string(repr(source)),
                   " is no name of a device; give one such as 'cpu' or 'cuda:1'");
    }
    value.id = ostria::ParseDevice(source.cast<std::string>());
    return true;
  }
};
