// SPDX-License-Identifier: Apache-2.0
// What cuDNN's heuristics want to know of a device, in the library's own form, so that plans for a
// device can be made where there is none.
#pragma once

#include <string>

#include "backend/kernel.h"

namespace ostria::cuda {

/// DeviceProps::description; where it is empty, that of an H100 with the properties given.
std::string DeviceJson(const DeviceProps& props);
/// The inverse. Throws Error(kInvalidArgument) that names a key which is missing or no number.
DeviceProps PropsOfJson(const std::string& json);

}  // namespace ostria::cuda
