// SPDX-License-Identifier: Apache-2.0
// Streams, events and captured graphs of the driver.
#pragma once

#include <memory>

#include "backend/cuda/device.h"

namespace ostria::cuda {

class CudaStream final : public Stream {
 public:
  explicit CudaStream(CudaDevice& device);
  ~CudaStream() override;
  DeviceId device() const override;
  void MakeCurrent() override { device_.MakeCurrent(); }
  void CopyToDevice(void* dst, const void* src, size_t bytes) override;
  void CopyToHost(void* dst, const void* src, size_t bytes) override;
  void CopyOnDevice(void* dst, const void* src, size_t bytes) override;
  std::shared_ptr<const Event> Record() override;
  std::shared_ptr<const Event> RecordTime() override;
  void WaitFor(const Event& event) override;
  void Synchronize() override;
  DataError TakeDataError() override;
  void BeginCapture() override;
  std::unique_ptr<Recording> EndCapture() override;

  CudaDevice& cuda() const { return device_; }
  CUstream handle() const { return handle_; }

 private:
  std::shared_ptr<const Event> RecordEvent(unsigned flags);

  CudaDevice& device_;
  CUstream handle_ = nullptr;
};

/// The stream that a kernel is bound to; every stream of a CUDA device is one.
inline CudaStream& StreamOf(const BindContext& to) { return static_cast<CudaStream&>(to.stream); }

}  // namespace ostria::cuda
