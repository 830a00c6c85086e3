// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/constants.h"

namespace ostria::cuda {

// Not by cuMemcpyHtoD: it may return before the device has the bytes.
Constants::Constants(CudaDevice& device, const void* data, size_t bytes)
    : device_(device), at_(device.memory().Allocate(bytes)) {
  device.CopyToDevice(at_, data, bytes);
}

Constants::~Constants() { device_.memory().Free(at_); }

}  // namespace ostria::cuda
