// SPDX-License-Identifier: Apache-2.0
// The activation region of a device (decision A4): one reserved range that all executables share,
// since they never overlap in time. It never moves, so bound addresses stay valid while it grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "core/device.h"

namespace ostria {

class ActivationArena {
 public:
  static std::shared_ptr<ActivationArena> Of(DeviceId device);
  explicit ActivationArena(DeviceId device);
  ~ActivationArena();
  ActivationArena(const ActivationArena&) = delete;
  ActivationArena& operator=(const ActivationArena&) = delete;

  std::byte* base() const { return base_; }
  /// The first `bytes` are about to be used. Throws Error(kOutOfMemory).
  void Require(int64_t bytes);
  /// Held for the length of a run in the calling thread.
  std::mutex& mutex() { return mutex_; }

 private:
  DeviceId device_;
  std::byte* base_ = nullptr;
  std::mutex mutex_;
};

}  // namespace ostria
