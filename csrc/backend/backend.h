// SPDX-License-Identifier: Apache-2.0
// What a kind of device offers to the runtime: its implementations and its memory. backend/cpu,
// /cuda and /null implement it and nobody includes them: the runtime finds them through
// FindBackend.
#pragma once

#include <cstddef>
#include <span>

#include "backend/kernel.h"
#include "core/device.h"

namespace ostria {

class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceKind kind() const = 0;
  /// Properties of device `ordinal`; throws Error(kDeviceUnavailable) when there is no such device.
  virtual DeviceProps Props(int ordinal) const = 0;
  /// In order of preference; entries for one op need not be adjacent.
  virtual std::span<const KernelDef> Kernels() const = 0;

  /// Reserves address space that grows in place: pages cost memory once touched, and never move.
  /// Zero-filled. Throws Error(kOutOfMemory).
  virtual void* Reserve(int ordinal, size_t bytes) = 0;
  virtual void Release(int ordinal, void* base, size_t bytes) = 0;
  virtual void CopyToDevice(int ordinal, void* dst, const void* src, size_t bytes) = 0;
  virtual void CopyToHost(int ordinal, void* dst, const void* src, size_t bytes) = 0;
};

/// The backend of this kind; throws Error(kDeviceUnavailable) with what is available.
Backend& FindBackend(DeviceKind kind);
/// Called once per backend by RegisterBackends (csrc/backend/register.cpp), before any FindBackend.
void RegisterBackend(Backend* backend);
void RegisterBackends();

}  // namespace ostria
