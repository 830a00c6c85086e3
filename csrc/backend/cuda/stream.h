// SPDX-License-Identifier: Apache-2.0
// Streams, events and captured graphs of the driver.
#pragma once

#include <memory>
#include <typeindex>
#include <unordered_map>

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
  void While(const void* flag, Stream& inner, const std::function<void()>& body) override;
  uintptr_t native_handle() const override { return reinterpret_cast<uintptr_t>(handle_); }
  void HoldBack(uintptr_t other) override;

  CudaDevice& cuda() const { return device_; }
  CUstream handle() const { return handle_; }
  /// What a library keeps per stream, such as its handle: a T, made of the stream when first asked
  /// for and destroyed with it.
  template <class T>
  T& Kept() {
    std::shared_ptr<void>& kept = kept_[std::type_index(typeid(T))];
    if (kept == nullptr) kept = std::make_shared<T>(*this);
    return *static_cast<T*>(kept.get());
  }

 private:
  std::shared_ptr<const Event> RecordEvent(unsigned flags);
  void WhileRecorded(const void* flag, CudaStream& inner, const std::function<void()>& body);

  CudaDevice& device_;
  CUstream handle_ = nullptr;
  std::unordered_map<std::type_index, std::shared_ptr<void>> kept_;
};

/// The stream that a kernel is bound to; every stream of a CUDA device is one.
inline CudaStream& StreamOf(const BindContext& to) { return static_cast<CudaStream&>(to.stream); }

}  // namespace ostria::cuda
