// SPDX-License-Identifier: Apache-2.0
// Tables that a kernel reads and the host knows when it prepares: copied to the device once, when
// the node is bound.
#pragma once

#include "backend/cuda/device.h"

namespace ostria::cuda {

/// Memory of a device with these bytes, freed with the object. Throws Error(kOutOfMemory).
class Constants {
 public:
  Constants(const CudaDevice& device, const void* data, size_t bytes);
  ~Constants();
  Constants(const Constants&) = delete;
  Constants& operator=(const Constants&) = delete;

  const void* data() const { return reinterpret_cast<const void*>(at_); }

 private:
  const CudaDevice& device_;
  CUdeviceptr at_ = 0;
};

}  // namespace ostria::cuda
