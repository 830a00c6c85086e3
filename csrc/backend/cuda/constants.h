// SPDX-License-Identifier: Apache-2.0
// Tables that a kernel reads and the host knows when it prepares: copied to the device once, when
// the node is bound.
#pragma once

#include "backend/cuda/device.h"

namespace ostria::cuda {

/// Memory of a device with these bytes, freed with the object. Throws Error(kOutOfMemory).
class Constants {
 public:
  Constants(CudaDevice& device, const void* data, size_t bytes);
  ~Constants();
  Constants(const Constants&) = delete;
  Constants& operator=(const Constants&) = delete;

  const void* data() const { return at_; }

 private:
  CudaDevice& device_;
  void* const at_;
};

}  // namespace ostria::cuda
