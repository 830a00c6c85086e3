// SPDX-License-Identifier: Apache-2.0
// What everything that runs on one device shares: a main stream, in whose order results become
// ready and memory is used and freed, streams that copy beside it, memory for results, and the
// numbers under which steps report bad data. Only devices that compute by themselves have one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "core/tensor.h"
#include "runtime/plan.h"

namespace ostria {

class LiveDevice {
 public:
  /// Made when first asked for; nullptr where kernels run in the calling thread. Throws
  /// Error(kDeviceUnavailable).
  static LiveDevice* Of(DeviceId id);

  DeviceId id() const { return id_; }
  Backend& backend() const { return backend_; }
  /// Held by a thread while it puts anything into a stream.
  [[nodiscard]] std::unique_lock<std::mutex> Lock();

  // While Lock() is held:

  Stream& main() { return *main_; }
  Stream& copies() { return *copies_; }
  /// Stream `index` of those that steps run on side by side; 0 is the main stream.
  Stream& stream(int32_t index);
  /// Copies host memory in the main stream's order, and keeps it until that is done.
  void Upload(void* dst, const Tensor& src);

  // Memory, used in the main stream's order; may be let go while work that uses it is under way.

  std::shared_ptr<void> Allocate(int64_t bytes);
  /// A tensor of a block of the device, or of a pinned one. `ready`: when it may be read by others
  /// than the main stream; null: after everything that is in the main stream by then.
  Tensor Wrap(DType dtype, const Shape& shape, void* data, std::shared_ptr<void> owner,
              std::shared_ptr<const Event> ready, bool pinned = false);
  /// Pinned memory of kSlotBytes for a small result.
  std::shared_ptr<void> NewSlot();
  static constexpr int64_t kSlotBytes = 4096;

  // Of the host, while Lock() is not held:

  /// Copies in the main stream's order.
  void CopyToDevice(void* dst, const Tensor& src);
  /// Waits for what is in the main stream, or for `ready`, and copies. Throws errors of the data.
  void CopyToHost(void* dst, const void* src, int64_t bytes, const Event* ready);
  /// A tensor of this device with the value of `src`, which is on the host or here.
  Tensor ToDevice(const Tensor& src);
  /// Waits for everything; throws errors of the device and of the data.
  void Synchronize();
  /// Waits for everything and lets errors be: memory is about to go.
  void Finish();
  /// Throws Error(kIndexError), with the op and the user's line, when a step that is done found bad
  /// data that nobody was told of; Error(kDistributed) once what the device holds is lost.
  void ThrowDataError();
  /// With the lock held: what is put into the streams now may find bad data.
  void NoteChecks() { unsettled_ = true; }
  /// State is about to be written by the host's order: waits for steps that may find bad data, and
  /// throws what they found, so that nothing is written then.
  void SettleChecks();

  // Memory that is shared with other libraries of the device (DLPack), while Lock() is not held:

  /// The main stream as other libraries name it: what they made must be ready in its order.
  uintptr_t stream_handle() const { return main_->native_handle(); }
  /// Their stream waits for what is in the main stream.
  void HoldBack(uintptr_t other);
  /// A tensor of their memory; `release` runs when nobody has the tensor and the main stream is
  /// done with it, in a thread that holds no lock.
  Tensor Borrow(DType dtype, const Shape& shape, void* data, std::function<void()> release);
  /// A copy in memory of this device, in the main stream's order.
  Tensor Copy(const Tensor& src);
  /// Whether the tensor's memory is the host's, pinned, as that of small results is.
  static bool IsPinned(const Tensor& tensor);

  /// The number (BindContext::step) of the first step of a plan; the others follow.
  int32_t AddSteps(std::shared_ptr<const Plan> plan);
  /// The plan is not run any more; for a while, its last runs may still report.
  void RetireSteps(int32_t first);

 private:
  explicit LiveDevice(DeviceId id, Backend& backend, std::unique_ptr<Stream> main);

  DeviceId id_;
  Backend& backend_;
  std::mutex mutex_;
  std::unique_ptr<Stream> main_, copies_, reads_;
  std::vector<std::unique_ptr<Stream>> sides_;
  std::deque<std::pair<std::shared_ptr<const Event>, std::shared_ptr<Buffer>>> uploading_;

  // What Borrow's tensors let go of, before and after it is known where that is in the main stream.
  struct LetGo {
    std::mutex mutex;
    std::vector<std::function<void()>> fresh;
  };
  std::shared_ptr<LetGo> let_go_ = std::make_shared<LetGo>();
  std::deque<std::pair<std::shared_ptr<const Event>, std::vector<std::function<void()>>>>
      letting_go_;
  // With the lock held: finds the point in the main stream; what is done with.
  void MarkLetGo();
  std::vector<std::function<void()>> TakeLetGo();

  struct Slots {
    std::mutex mutex;
    std::vector<void*> free;
  };
  std::shared_ptr<Slots> slots_ = std::make_shared<Slots>();

  bool unsettled_ = false;  // under mutex_: steps that check data were not waited for

  std::mutex plans_mutex_;
  std::map<int32_t, std::shared_ptr<const Plan>> plans_;  // by the number of the first step
  std::deque<int32_t> retired_;
  int32_t next_step_ = 0;
};

}  // namespace ostria
