// SPDX-License-Identifier: Apache-2.0
// The library's handle for one stream.
#pragma once

#include <memory>

#include "backend/cuda/libraries/cudnn.h"
#include "backend/cuda/stream.h"

namespace ostria::cuda {

/// Shared by everything that is bound to the stream.
class CudnnHandle {
 public:
  static std::shared_ptr<CudnnHandle> Of(const CudaStream& stream);
  ~CudnnHandle() { Cudnn().cudnnDestroy(raw_); }
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;
  cudnnHandle_t raw() const { return raw_; }

 private:
  explicit CudnnHandle(CUstream stream);
  cudnnHandle_t raw_ = nullptr;
};

}  // namespace ostria::cuda
