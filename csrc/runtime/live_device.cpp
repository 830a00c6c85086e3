// SPDX-License-Identifier: Apache-2.0
#include "runtime/live_device.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/control.h"

namespace ostria {
namespace {

constexpr int64_t kCopiedUpload = 65536;  // bytes; more of a caller's own array is waited for
constexpr int kSlotsAtOnce = 16;
constexpr size_t kRetiredPlans = 256;

// What a tensor on a device holds.
class SharedMemory final : public DeviceMemory {
 public:
  SharedMemory(LiveDevice& device, void* data, std::shared_ptr<void> owner,
               std::shared_ptr<const Event> ready, bool pinned)
      : device_(device),
        data_(static_cast<std::byte*>(data)),
        owner_(std::move(owner)),
        ready_(std::move(ready)),
        pinned_(pinned) {}
  DeviceId device() const override { return device_.id(); }
  bool pinned() const { return pinned_; }
  void CopyToHost(void* dst, size_t offset, size_t bytes) const override {
    if (!pinned_) {
      device_.CopyToHost(dst, data_ + offset, static_cast<int64_t>(bytes), ready_.get());
      return;
    }
    ready_->Wait();
    std::memcpy(dst, data_ + offset, bytes);
    device_.ThrowDataError();
  }

 private:
  LiveDevice& device_;
  std::byte* data_;
  std::shared_ptr<void> owner_;
  std::shared_ptr<const Event> ready_;
  bool pinned_;
};

}  // namespace

LiveDevice* LiveDevice::Of(DeviceId id) {
  if (id.kind != DeviceKind::kCuda) return nullptr;
  static std::mutex mutex;
  static auto* devices = new std::map<DeviceId, LiveDevice*>;  // they outlive static teardown
  std::lock_guard lock(mutex);
  LiveDevice*& device = (*devices)[id];
  if (device == nullptr) {
    Backend& backend = FindBackend(id.kind);
    if (auto main = backend.MakeStream(id.ordinal)) {
      device = new LiveDevice(id, backend, std::move(main));
    }
  }
  return device;
}

LiveDevice::LiveDevice(DeviceId id, Backend& backend, std::unique_ptr<Stream> main)
    : id_(id),
      backend_(backend),
      main_(std::move(main)),
      copies_(backend.MakeStream(id.ordinal)),
      reads_(backend.MakeStream(id.ordinal)) {}

std::unique_lock<std::mutex> LiveDevice::Lock() {
  std::unique_lock lock(mutex_);
  main_->MakeCurrent();
  return lock;
}

Stream& LiveDevice::stream(int32_t index) {
  if (index == 0) return *main_;
  while (sides_.size() < static_cast<size_t>(index)) {
    sides_.push_back(backend_.MakeStream(id_.ordinal));
  }
  return *sides_[static_cast<size_t>(index) - 1];
}

std::shared_ptr<void> LiveDevice::Allocate(int64_t bytes) {
  const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
  void* const data = backend_.Allocate(id_.ordinal, size);
  return {data, [this, size](void* p) { backend_.Free(id_.ordinal, p, size); }};
}

Tensor LiveDevice::Wrap(DType dtype, const Shape& shape, void* data, std::shared_ptr<void> owner,
                        std::shared_ptr<const Event> ready, bool pinned) {
  const int64_t bytes = shape.numel() * SizeOf(dtype);
  auto memory =
      std::make_unique<SharedMemory>(*this, data, std::move(owner), std::move(ready), pinned);
  return Tensor(dtype, shape,
                Buffer::OnDevice(data, static_cast<size_t>(bytes), std::move(memory)));
}

// Slots are written in the main stream's order only, so one may be given out again at once.
std::shared_ptr<void> LiveDevice::NewSlot() {
  void* slot = nullptr;
  {
    std::lock_guard lock(slots_->mutex);
    if (slots_->free.empty()) {
      auto* block = static_cast<std::byte*>(
          backend_.AllocatePinned(static_cast<size_t>(kSlotsAtOnce * kSlotBytes)));
      for (int i = 0; i < kSlotsAtOnce; ++i) slots_->free.push_back(block + i * kSlotBytes);
    }
    slot = slots_->free.back();
    slots_->free.pop_back();
  }
  return {slot, [slots = slots_](void* p) {
            std::lock_guard lock(slots->mutex);
            slots->free.push_back(p);
          }};
}

void LiveDevice::Upload(void* dst, const Tensor& src) {
  while (!uploading_.empty() && uploading_.front().first->Done()) uploading_.pop_front();
  const int64_t bytes = src.bytes();
  if (bytes == 0) return;
  Tensor kept = src;
  const bool borrowed = src.buffer()->borrowed();  // its owner may write it when we return
  if (borrowed && bytes <= kCopiedUpload) {
    kept = Tensor::Empty(src.dtype(), src.shape());
    std::memcpy(kept.raw(), src.raw(), static_cast<size_t>(bytes));
  }
  main_->CopyToDevice(dst, kept.raw(), static_cast<size_t>(bytes));
  auto event = main_->Record();
  if (borrowed && bytes > kCopiedUpload)
    event->Wait();
  else
    uploading_.emplace_back(std::move(event), kept.buffer());
}

void LiveDevice::CopyToDevice(void* dst, const Tensor& src) {
  if (!src.on_host() && src.device() == id_) {
    const auto lock = Lock();
    main_->CopyOnDevice(dst, src.raw(), static_cast<size_t>(src.bytes()));
    return;
  }
  const Tensor host = src.OnHost();
  const auto lock = Lock();
  Upload(dst, host);
}

void LiveDevice::CopyToHost(void* dst, const void* src, int64_t bytes, const Event* ready) {
  std::shared_ptr<const Event> done;
  {
    const auto lock = Lock();
    Stream& stream = ready == nullptr ? *main_ : *reads_;
    if (ready != nullptr) stream.WaitFor(*ready);
    if (bytes > 0) stream.CopyToHost(dst, src, static_cast<size_t>(bytes));
    done = stream.Record();
  }
  done->Wait();
  ThrowDataError();
}

void LiveDevice::HoldBack(uintptr_t other) {
  const auto lock = Lock();
  main_->HoldBack(other);
}

// Whoever drops the last tensor may hold any lock, so the point in the stream is found later.
Tensor LiveDevice::Borrow(DType dtype, const Shape& shape, void* data,
                          std::function<void()> release) {
  std::shared_ptr<void> owner(data, [let_go = let_go_, release = std::move(release)](void*) {
    std::lock_guard lock(let_go->mutex);
    let_go->fresh.push_back(release);
  });
  return Wrap(dtype, shape, data, std::move(owner), nullptr);
}

void LiveDevice::MarkLetGo() {
  std::vector<std::function<void()>> fresh;
  {
    std::lock_guard lock(let_go_->mutex);
    fresh.swap(let_go_->fresh);
  }
  if (!fresh.empty()) letting_go_.emplace_back(main_->Record(), std::move(fresh));
}

std::vector<std::function<void()>> LiveDevice::TakeLetGo() {
  MarkLetGo();
  std::vector<std::function<void()>> done;
  while (!letting_go_.empty() && letting_go_.front().first->Done()) {
    for (auto& release : letting_go_.front().second) done.push_back(std::move(release));
    letting_go_.pop_front();
  }
  return done;
}

Tensor LiveDevice::Copy(const Tensor& src) {
  std::shared_ptr<void> block = Allocate(src.bytes());
  void* const data = block.get();
  if (src.bytes() > 0) CopyToDevice(data, src);
  return Wrap(src.dtype(), src.shape(), data, std::move(block), nullptr);
}

bool LiveDevice::IsPinned(const Tensor& tensor) {
  const auto* memory = dynamic_cast<const SharedMemory*>(tensor.buffer()->memory());
  return memory != nullptr && memory->pinned();
}

Tensor LiveDevice::ToDevice(const Tensor& src) {
  return !src.on_host() && src.device() == id_ ? src : Copy(src);
}

void LiveDevice::Synchronize() {
  std::shared_ptr<const Event> done;
  {
    const auto lock = Lock();
    MarkLetGo();
    done = main_->Record();
  }
  done->Wait();
  ThrowDataError();
}

void LiveDevice::SettleChecks() {
  std::shared_ptr<const Event> done;
  {
    const auto lock = Lock();
    if (!unsettled_) return;
    unsettled_ = false;
    done = main_->Record();
  }
  done->Wait();
  ThrowDataError();
}

void LiveDevice::Finish() {
  try {
    const auto lock = Lock();
    main_->Synchronize();
  } catch (const Error&) {  // whoever reads a result is told
  }
}

void LiveDevice::ThrowDataError() {
  DataError found;
  std::vector<std::function<void()>> let_go;
  {
    const auto lock = Lock();
    found = main_->TakeDataError();
    let_go = TakeLetGo();
  }
  for (const auto& release : let_go) release();
  if (!found.lost.empty()) Fail(ErrorCode::kDistributed, found.lost);
  if (found.step < 0) return;
  std::shared_ptr<const Plan> plan;
  int32_t step = 0;
  {
    std::lock_guard lock(plans_mutex_);
    auto after = plans_.upper_bound(found.step);
    if (after != plans_.begin()) {
      --after;
      step = found.step - after->first;
      if (step < static_cast<int32_t>(after->second->steps.size())) plan = after->second;
    }
  }
  const std::string what = StrCat("index ", found.value, " in its data is out of range on ",
                                  ToString(id_), "; valid are ", found.low, "..", found.high - 1);
  if (plan == nullptr) Fail(ErrorCode::kIndexError, "an op that is gone: ", what);
  const auto at = static_cast<size_t>(step);
  Error error = NamedError(*plan, at, Error(ErrorCode::kIndexError, what));
  throw error.At(ShortLocation(WhereOf(*plan, at, error)));
}

int32_t LiveDevice::AddSteps(std::shared_ptr<const Plan> plan) {
  const auto count = static_cast<int32_t>(plan->steps.size());
  std::lock_guard lock(plans_mutex_);
  if (next_step_ > std::numeric_limits<int32_t>::max() - count) next_step_ = 0;
  const int32_t first = next_step_;
  next_step_ += std::max(count, 1);
  plans_[first] = std::move(plan);
  return first;
}

void LiveDevice::RetireSteps(int32_t first) {
  std::shared_ptr<const Plan> dropped;  // goes after the lock
  std::lock_guard lock(plans_mutex_);
  retired_.push_back(first);
  if (retired_.size() <= kRetiredPlans) return;
  if (const auto it = plans_.find(retired_.front()); it != plans_.end()) {
    dropped = std::move(it->second);
    plans_.erase(it);
  }
  retired_.pop_front();
}

}  // namespace ostria
