// SPDX-License-Identifier: Apache-2.0
// Tensor: dense, row-major, never aliased by another Tensor that can be written (decision A7). A
// value type: copying shares the buffer, and nobody writes a buffer after its Tensor was handed
// out.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace ostria {

inline constexpr size_t kAlignment = 256;  // of chunks and regions; single buffers get 64

/// Device memory that a Buffer holds. Freed with it.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual DeviceId device() const = 0;
  /// Waits for the work that fills the memory, and copies. Throws the device's error.
  virtual void CopyToHost(void* dst, size_t offset, size_t bytes) const = 0;
};

/// Owns bytes on one device, or borrows them from somebody else through a deleter.
class Buffer {
 public:
  /// 64-byte aligned memory of this host (core/host_memory.h); contents undefined.
  /// Throws Error(kOutOfMemory).
  static std::shared_ptr<Buffer> Allocate(size_t bytes);
  /// Borrows `data` (NumPy array, DLPack capsule, state chunk); `release` runs once, at the end.
  static std::shared_ptr<Buffer> Borrow(void* data, size_t bytes, std::function<void()> release);
  /// Of a device: `data` is an address there.
  static std::shared_ptr<Buffer> OnDevice(void* data, size_t bytes,
                                          std::unique_ptr<DeviceMemory> memory);

  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool borrowed() const { return static_cast<bool>(release_); }
  DeviceId device() const { return memory_ == nullptr ? DeviceId{} : memory_->device(); }
  const DeviceMemory* memory() const { return memory_.get(); }  // nullptr: host memory

 private:
  Buffer() = default;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  std::function<void()> release_;
  std::unique_ptr<DeviceMemory> memory_;
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape, std::shared_ptr<Buffer> buffer, size_t offset = 0)
      : buffer_(std::move(buffer)), offset_(offset), shape_(shape), dtype_(dtype) {}

  /// Uninitialised dense host tensor.
  static Tensor Empty(DType dtype, const Shape& shape);
  static Tensor Zeros(DType dtype, const Shape& shape);
  /// Rank-0 tensor of a C++ value (float, double, int64_t, bool, …).
  template <class T>
  static Tensor Scalar(DType dtype, T value) {
    Tensor t = Empty(dtype, {});
    DispatchDType(dtype, [&]<class E>(E*) {
      if constexpr (std::is_same_v<E, Float16> || std::is_same_v<E, BFloat16>) {
        *t.data<E>() = E(static_cast<float>(value));
      } else {
        *t.data<E>() = static_cast<E>(value);
      }
    });
    return t;
  }

  bool defined() const { return buffer_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t numel() const { return shape_.numel(); }
  int64_t bytes() const { return numel() * SizeOf(dtype_); }
  void* raw() const { return static_cast<std::byte*>(buffer_->data()) + offset_; }
  template <class T>
  T* data() const {
    return static_cast<T*>(raw());
  }
  const std::shared_ptr<Buffer>& buffer() const { return buffer_; }
  DeviceId device() const { return buffer_ == nullptr ? DeviceId{} : buffer_->device(); }
  bool on_host() const { return buffer_ == nullptr || buffer_->memory() == nullptr; }
  /// Itself where it lies on the host, else a copy there, after the work that fills it.
  Tensor OnHost() const;

 private:
  std::shared_ptr<Buffer> buffer_;
  size_t offset_ = 0;
  Shape shape_;
  DType dtype_ = DType::kFloat32;
};

}  // namespace ostria
