// SPDX-License-Identifier: Apache-2.0
// What a kind of device offers to the runtime: its implementations, its memory, and, where it does
// not compute in the calling thread, streams of work. backend/cpu, /cuda and /null implement it and
// nobody includes them: the runtime finds them through FindBackend.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/communicator.h"
#include "backend/diagnosis.h"
#include "backend/kernel.h"
#include "core/device.h"

namespace ostria {

/// A point in the work of a stream.
class Event {
 public:
  virtual ~Event() = default;
  virtual bool Done() const = 0;
  /// The host waits until the work before it is done. Throws the device's error.
  virtual void Wait() const = 0;
  /// Seconds of the device from `earlier` on, both of Stream::RecordTime and done.
  virtual double SecondsSince(const Event& earlier) const = 0;
};

/// Work that was captured rather than run: one launch replays all of it.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void Launch(Stream& stream) const = 0;
  virtual int64_t num_nodes() const = 0;
};

/// What a kernel found in its data, such as an index out of range. Kernels go on with a value that
/// is in range, and say so here.
struct DataError {
  int32_t step = -1;                     // BindContext::step; -1: nothing was found
  int64_t value = 0, low = 0, high = 0;  // what was found; accepted are low..high-1
  /// Not empty: why nothing that the device holds can be relied on any more, whatever was found.
  std::string lost;
};

/// Work of a device in order. Nothing here waits for the device unless it says so; used by one
/// thread at a time.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual DeviceId device() const = 0;
  /// To be called by a thread that comes to use streams of the device.
  virtual void MakeCurrent() = 0;
  /// Host memory must stay until the copy is done; copies overlap with the host where it is pinned.
  virtual void CopyToDevice(void* dst, const void* src, size_t bytes) = 0;
  virtual void CopyToHost(void* dst, const void* src, size_t bytes) = 0;
  virtual void CopyOnDevice(void* dst, const void* src, size_t bytes) = 0;
  virtual std::shared_ptr<const Event> Record() = 0;
  /// The same, for SecondsSince.
  virtual std::shared_ptr<const Event> RecordTime() = 0;
  /// What is launched later waits for `event`; the host does not.
  virtual void WaitFor(const Event& event) = 0;
  /// The host waits for everything. Throws the device's error.
  virtual void Synchronize() = 0;
  /// The first error of data since the last call, of work that is done. Waits only where there is
  /// one: what was enqueued behind it must still find it, and commit nothing.
  virtual DataError TakeDataError() = 0;
  /// Until EndCapture, this thread's launches and copies are recorded and do not run; streams that
  /// wait for an event of this one are recorded too, and must be waited for before the end.
  virtual void BeginCapture() = 0;
  virtual std::unique_ptr<Recording> EndCapture() = 0;
  /// Runs what `body` puts into `inner`, a stream of this device for that alone, again and again as
  /// long as the byte at `flag`, of the device, is not 0 before it. Recorded, the device decides;
  /// otherwise the host waits for the flag each time.
  virtual void While(const void* flag, Stream& inner, const std::function<void()>& body) = 0;
  /// The stream as other libraries of the device name it; 0 where it has no name.
  virtual uintptr_t native_handle() const { return 0; }
  /// Another library's stream of that name waits for what is in this one; the host does not.
  virtual void HoldBack(uintptr_t /*other*/) {}
};

/// Bytes of one device.
struct MemoryStats {
  size_t in_use = 0;           // of live tensors and committed regions
  size_t peak = 0;             // the most that was in use since the start or the last TrimMemory
  size_t reserved = 0;         // taken from the device: in use, or kept for reuse
  size_t free = 0, total = 0;  // of the whole device, whoever uses it
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceKind kind() const = 0;
  /// Properties of device `ordinal`; throws Error(kDeviceUnavailable) when there is no such device.
  virtual DeviceProps Props(int ordinal) const = 0;
  /// Properties of a device that is described (DeviceProps::description) rather than there, so that
  /// plans can be made for it. Throws Error(kInvalidArgument) where something is missing.
  virtual DeviceProps Described(const std::string& description) const;
  /// In order of preference; entries for one op need not be adjacent.
  virtual std::span<const KernelDef> Kernels() const = 0;

  /// Reserves address space that grows in place: pages cost memory once committed or, on the host,
  /// touched, and never move. Zero-filled. Throws Error(kOutOfMemory).
  virtual void* Reserve(int ordinal, size_t bytes) = 0;
  /// The first `bytes` from `base` on are about to be used. Throws Error(kOutOfMemory).
  virtual void Commit(int /*ordinal*/, void* /*base*/, size_t /*bytes*/) {}
  virtual void Release(int ordinal, void* base, size_t bytes) = 0;
  virtual void CopyToDevice(int ordinal, void* dst, const void* src, size_t bytes) = 0;
  virtual void CopyToHost(int ordinal, void* dst, const void* src, size_t bytes) = 0;

  // Devices that compute by themselves:

  /// How many there are; the CPU is one.
  virtual int NumDevices() const { return 1; }
  /// A new stream; nullptr where kernels run in the calling thread.
  virtual std::unique_ptr<Stream> MakeStream(int /*ordinal*/) { return nullptr; }
  /// Memory of a tensor, kept for reuse when freed; used in the order of the device's main stream.
  /// Throws Error(kOutOfMemory).
  virtual void* Allocate(int /*ordinal*/, size_t /*bytes*/) { return nullptr; }
  virtual void Free(int /*ordinal*/, void* /*data*/, size_t /*bytes*/) {}
  /// Host memory that the device reads and writes by itself.
  virtual void* AllocatePinned(size_t /*bytes*/) { return nullptr; }
  virtual void FreePinned(void* /*data*/, size_t /*bytes*/) {}
  virtual MemoryStats GetMemoryStats(int /*ordinal*/) { return {}; }
  /// Gives back what is kept for reuse, and begins a new peak; how many bytes.
  virtual size_t TrimMemory(int /*ordinal*/) { return 0; }
  /// Ranks of one group whose data lie on these devices, one for each of `hosts`, which carry what
  /// lies in host memory and whose other ranks do the same at once. Throws Error(kDistributed) that
  /// names who did not come within `timeout`, which is that of later calls too.
  virtual std::vector<std::unique_ptr<Communicator>> Connect(
      std::span<const int> /*ordinals*/, std::vector<std::unique_ptr<Communicator>> hosts,
      std::chrono::milliseconds timeout);
  /// What was found of libraries and devices: never throws, says what failed.
  virtual std::vector<Diagnosis> Describe() { return {}; }
};

/// The backend of this kind, loaded if it is not part of libostria; throws
/// Error(kDeviceUnavailable) with what is available.
Backend& FindBackend(DeviceKind kind);
/// Called once per backend by RegisterBackends (csrc/backend/register.cpp), before any FindBackend.
void RegisterBackend(Backend* backend);
void RegisterBackends();

}  // namespace ostria
