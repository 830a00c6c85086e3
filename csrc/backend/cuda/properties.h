// SPDX-License-Identifier: Apache-2.0
// What the driver says of a device, for plans, for cuDNN and for people.
#pragma once

#include <string>

#include "backend/backend.h"
#include "backend/cuda/libraries/driver.h"

namespace ostria::cuda {

/// Everything a plan may know. `description` is JSON as cuDNN's device properties take it, so that
/// plans of cuDNN can be made without the device. Needs no context.
DeviceProps ReadProperties(CUdevice device);

/// Sets what is not the device's but the user's, from the environment: `deterministic`, `tf32`.
void ReadOptions(DeviceProps* props);

/// "NVIDIA H100 80GB HBM3".
std::string MarketingName(CUdevice device);

/// Throws Error(kDeviceUnavailable) unless the kernels of this build run on the device.
void CheckArchitecture(int ordinal, CUdevice device);

/// Backend::Describe.
std::vector<Diagnosis> DescribeInstallation();

}  // namespace ostria::cuda
