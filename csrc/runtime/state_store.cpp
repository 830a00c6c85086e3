// SPDX-License-Identifier: Apache-2.0
#include "runtime/state_store.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "backend/backend.h"
#include "base/check.h"
#include "core/aligned.h"
#include "ops/ops.h"
#include "runtime/eager.h"
#include "runtime/live_device.h"
#include "runtime/replica_group.h"

namespace ostria {

// One reserved range of addresses. Pages cost memory when a variable first touches them; on a
// device, when it is placed.
class StateChunk {
 public:
  StateChunk(DeviceId device, DType dtype, int64_t capacity)
      : device(device), dtype(dtype), capacity(capacity), id(next_id++) {
    base = static_cast<std::byte*>(
        FindBackend(device.kind).Reserve(device.ordinal, static_cast<size_t>(capacity)));
  }
  ~StateChunk() {
    if (LiveDevice* live = LiveDevice::Of(device)) live->Finish();
    FindBackend(device.kind).Release(device.ordinal, base, static_cast<size_t>(capacity));
  }

  // The variables of [0, end) lie here.
  void Use(int64_t end) {
    if (end <= used) return;
    FindBackend(device.kind).Commit(device.ordinal, base, static_cast<size_t>(end));
    used = end;
  }

  const DeviceId device;
  const DType dtype;
  const int64_t capacity;
  const int64_t id;
  std::byte* base = nullptr;
  int64_t used = 0;

 private:
  static inline std::atomic<int64_t> next_id{1};
};

namespace {

constexpr int64_t kChunkAddresses = int64_t{16} << 30;  // address space, not memory

struct Registry {
  std::mutex mutex;
  std::map<std::tuple<DeviceId, DType, StateClass>, std::weak_ptr<StateChunk>> open;
  std::map<std::pair<int64_t, std::string>, std::weak_ptr<StateChunk>> mirrors;  // (chunk, kind)
  std::map<std::pair<int64_t, DeviceId>, std::weak_ptr<StateChunk>> copies;  // of a chunk, there
  int64_t next_variable = 1;
};

Registry& GetRegistry() {
  static Registry* registry = new Registry;  // variables may outlive static teardown
  return *registry;
}

}  // namespace

namespace {

// In the open chunk, with the registry's mutex held.
std::pair<std::shared_ptr<StateChunk>, int64_t> Place(DeviceId device, DType dtype, StateClass cls,
                                                      int64_t bytes) {
  std::weak_ptr<StateChunk>& open = GetRegistry().open[{device, dtype, cls}];
  std::shared_ptr<StateChunk> chunk = open.lock();
  if (chunk == nullptr || chunk->used + bytes > chunk->capacity) {
    chunk = std::make_shared<StateChunk>(device, dtype, std::max(kChunkAddresses, bytes));
    open = chunk;
  }
  const int64_t offset = chunk->used;
  chunk->Use(offset + bytes);
  return {std::move(chunk), offset};
}

// A chunk laid out as `of`, made where `known` has none.
std::shared_ptr<StateChunk> Alike(const StateChunk& of, DeviceId device, int64_t end,
                                  std::weak_ptr<StateChunk>* known) {
  std::shared_ptr<StateChunk> chunk = known->lock();
  if (chunk == nullptr) {
    chunk = std::make_shared<StateChunk>(device, of.dtype, of.capacity);
    *known = chunk;
  }
  chunk->Use(end);
  return chunk;
}

// The chunk that holds slots of `kind` of the variables in `of`, with the mutex held.
std::shared_ptr<StateChunk> MirrorOf(const StateChunk& of, const std::string& kind, int64_t end) {
  return Alike(of, of.device, end, &GetRegistry().mirrors[{of.id, kind}]);
}

// The chunk that holds copies of the variables in `of` on another device, with the mutex held.
std::shared_ptr<StateChunk> CopyOf(const StateChunk& of, DeviceId device, int64_t end) {
  return Alike(of, device, end, &GetRegistry().copies[{of.id, device}]);
}

}  // namespace

std::shared_ptr<Variable> Variable::Create(std::string name, const Tensor& initial, StateClass cls,
                                           DeviceId device, Copies copies) {
  if (name.empty()) Fail(ErrorCode::kInvalidArgument, "variable: the name is empty; give it one");
  if (copies == Copies::kSummed && initial.dtype() == DType::kBool) {
    Fail(ErrorCode::kInvalidArgument, "variable '", name,
         "': bools cannot be added up over replicas; make it a number");
  }
  std::shared_ptr<Variable> v(new Variable);
  v->name_ = std::move(name);
  v->dtype_ = initial.dtype();
  v->shape_ = initial.shape();
  v->class_ = cls;
  v->copies_ = copies;
  v->trainable = cls == StateClass::kTrainable;
  {
    Registry& r = GetRegistry();
    std::lock_guard lock(r.mutex);
    v->id_ = r.next_variable++;
    std::tie(v->chunk_, v->offset_) = Place(device, v->dtype_, cls, Aligned(v->bytes()));
  }
  v->Assign(initial);
  return v;
}

std::shared_ptr<Variable> Variable::CreateSlot(const std::shared_ptr<Variable>& of,
                                               std::string_view kind, double fill,
                                               const Parts& parts) {
  std::shared_ptr<Variable> v(new Variable);
  v->trainable = false;  // an optimizer writes it
  v->name_ = StrCat(of->name_, "/", kind);
  v->dtype_ = of->dtype_;
  v->shape_ = of->shape_;
  v->offset_ = of->offset_;
  v->slot_kind_ = kind;
  v->slot_of_ = of;
  if (parts.any()) {
    const std::shared_ptr<ReplicaGroup> group = parts.group.lock();
    OSTRIA_CHECK(group != nullptr);
    v->PlaceOn(group->devices(), parts);
  }
  {
    Registry& r = GetRegistry();
    std::lock_guard lock(r.mutex);
    if (!parts.any()) {
      v->chunk_ = MirrorOf(*of->chunk_, v->slot_kind_, v->offset_ + Aligned(v->bytes()));
    }
    v->id_ = r.next_variable++;
  }
  if (v->device().kind == DeviceKind::kNull) return v;  // its pages are never touched
  Tensor initial = Tensor::Zeros(of->dtype_, of->shape_);
  if (fill != 0) {
    const Tensor one = Tensor::Scalar(of->dtype_, fill);
    const auto size = static_cast<size_t>(SizeOf(of->dtype_));
    for (int64_t i = 0; i < initial.numel(); ++i) {
      std::memcpy(initial.data<std::byte>() + i * size, one.raw(), size);
    }
  }
  v->Assign(initial);
  return v;
}

void Variable::RequireHere(DeviceId to) const {
  if (chunk_->device.kind != DeviceKind::kNull) return;
  Fail(ErrorCode::kInvalidArgument, "variable '", name_,
       "' was made on device 'null', which holds no values, and cannot move to ", ToString(to),
       "; make the model again on the device that it is to run on");
}

void Variable::MoveTo(DeviceId device) {
  if (chunk_->device == device && !parts_.any()) return;
  const std::shared_ptr<Variable> of = slot_of_.lock();
  RequireHere(device);
  if (of != nullptr) of->MoveTo(device);
  const Tensor value = Snapshot();  // before anything changes: it may throw
  others_.clear();
  parts_ = {};
  {
    std::lock_guard lock(GetRegistry().mutex);
    if (of != nullptr) {
      chunk_ = MirrorOf(*of->chunk_, slot_kind_, of->offset_ + Aligned(bytes()));
      offset_ = of->offset_;
    } else {
      std::tie(chunk_, offset_) = Place(device, dtype_, class_, Aligned(bytes()));
    }
  }
  Assign(value);
  moves_.fetch_add(1, std::memory_order_acq_rel);
}

// Parts lie behind each other, wherever their variables do: chunks that mirrored these would take
// their whole size on a device.
void Variable::PlaceOn(std::span<const DeviceId> devices, const Parts& parts) {
  parts_ = parts;
  others_.clear();
  const int64_t size = Aligned(parts_.SizeOf(shape_.numel()) * SizeOf(dtype_));
  std::lock_guard lock(GetRegistry().mutex);
  std::tie(chunk_, offset_) = Place(devices[0], dtype_, class_, size);
  for (DeviceId device : devices.subspan(1)) {
    others_.push_back(CopyOf(*chunk_, device, offset_ + size));
  }
}

void Variable::Mirror(std::span<const DeviceId> devices, const Parts& parts) {
  OSTRIA_CHECK(!devices.empty());
  const auto is_there = [&] {
    if (devices.size() != static_cast<size_t>(num_copies())) return false;
    for (size_t c = 0; c < devices.size(); ++c) {
      if (device(static_cast<int>(c)) != devices[c]) return false;
    }
    return true;
  };
  if (const std::shared_ptr<Variable> of = slot_of_.lock()) of->Mirror(devices);
  if (is_there() && parts_.IsLike(parts)) {
    parts_.group = parts.group;
    return;
  }
  RequireHere(devices[0]);
  if (parts.any()) {
    const Tensor value = Snapshot();
    PlaceOn(devices, parts);
    Assign(value);
    moves_.fetch_add(1, std::memory_order_acq_rel);
    return;
  }
  const Tensor value = Snapshot();
  if (!parts_.any()) others_.clear();
  MoveTo(devices[0]);
  {
    std::lock_guard lock(GetRegistry().mutex);
    for (DeviceId device : devices.subspan(1)) {
      others_.push_back(CopyOf(*chunk_, device, offset_ + Aligned(bytes())));
    }
  }
  Assign(value);
  moves_.fetch_add(1, std::memory_order_acq_rel);
}

Variable::~Variable() = default;

const StateChunk& Variable::chunk(int copy) const {
  return copy == 0 ? *chunk_ : *others_[static_cast<size_t>(copy) - 1];
}
DeviceId Variable::device(int copy) const { return chunk(copy).device; }
int64_t Variable::chunk_id() const { return chunk_->id; }
void* Variable::data(int copy) const { return chunk(copy).base + offset_; }

Shape Variable::copy_shape() const {
  return parts_.any() ? Shape{parts_.SizeOf(shape_.numel())} : shape_;
}

Tensor Variable::SnapshotCopy(int copy) const {
  Tensor t = Tensor::Empty(dtype_, copy_shape());
  const DeviceId d = device(copy);
  if (LiveDevice* live = LiveDevice::Of(d)) {
    live->CopyToHost(t.raw(), data(copy), t.bytes(), nullptr);
  } else {
    FindBackend(d.kind).CopyToHost(d.ordinal, t.raw(), data(copy), static_cast<size_t>(t.bytes()));
  }
  return t;
}

Tensor Variable::PartOf(const Tensor& value, int part) const {
  Tensor t = Tensor::Empty(dtype_, copy_shape());
  const int64_t begin = parts_.BeginOf(part, shape_.numel()) * SizeOf(dtype_);
  if (t.bytes() > 0) {
    std::memcpy(t.raw(), value.data<std::byte>() + begin, static_cast<size_t>(t.bytes()));
  }
  return t;
}

Tensor Variable::Joined() const {
  Tensor whole = Tensor::Empty(dtype_, shape_);
  const int64_t n = shape_.numel(), bytes = parts_.SizeOf(n) * SizeOf(dtype_);
  if (n == 0) return whole;
  const auto put = [&](int part, const void* from) {
    const int64_t begin = parts_.BeginOf(part, n) * SizeOf(dtype_);
    std::memcpy(whole.data<std::byte>() + begin, from, static_cast<size_t>(bytes));
  };
  if (num_copies() == parts_.total) {
    for (int c = 0; c < num_copies(); ++c) put(c, SnapshotCopy(c).raw());
    return whole;
  }
  const std::shared_ptr<ReplicaGroup> group = parts_.group.lock();
  if (group == nullptr) {
    Fail(ErrorCode::kDistributed, "variable '", name_, "': ", parts_.total,
         " replicas of several processes hold a part of it each, and the strategy that they belong "
         "to was closed; read it before, or load it from a checkpoint");
  }
  std::vector<Tensor> all;  // of each replica here: its row is its part
  for (int c = 0; c < num_copies(); ++c) {
    all.push_back(Tensor::Empty(dtype_, {parts_.total, parts_.SizeOf(n)}));
    std::memcpy(all.back().data<std::byte>() + (parts_.first + c) * bytes, SnapshotCopy(c).raw(),
                static_cast<size_t>(bytes));
  }
  group->Run([&](int i) {
    Communicator::Current()->AllGather(StrCat("the value of '", name_, "'"),
                                       all[static_cast<size_t>(i)].raw(), bytes);
  });
  for (int p = 0; p < parts_.total; ++p) put(p, all[0].data<std::byte>() + p * bytes);
  return whole;
}

// Copies are added neighbours first, as transports add those of replicas.
Tensor Variable::Snapshot() const {
  if (parts_.any()) return Joined();
  if (!is_spread_) return SnapshotCopy(0);
  std::vector<Tensor> left, out;
  for (int c = 0; c < num_copies(); ++c) left.push_back(SnapshotCopy(c));
  while (left.size() > 1) {
    size_t next = 0;
    for (size_t c = 0; c < left.size(); c += 2, ++next) {
      if (c + 1 < left.size()) {
        const Tensor terms[] = {left[c], left[c + 1]};
        RunEagerOn(DeviceId{}, ops::kAdd, terms, {}, &out);
        left[next] = out[0];
      } else {
        left[next] = left[c];
      }
    }
    left.resize(next);
  }
  return left[0];
}

Tensor Variable::Copy() const {
  LiveDevice* live = LiveDevice::Of(chunk_->device);
  if (live == nullptr || parts_.any()) return Snapshot();
  std::shared_ptr<void> block = live->Allocate(bytes());
  void* const copy = block.get();
  live->CopyToDevice(copy, View());
  return live->Wrap(dtype_, shape_, copy, std::move(block), nullptr);
}

Tensor Variable::View() const {
  const DeviceId d = chunk_->device;
  if (is_spread_ || parts_.any()) return Snapshot();
  if (LiveDevice* live = LiveDevice::Of(d)) {
    return live->Wrap(dtype_, shape_, data(), chunk_, nullptr);
  }
  if (d.kind != DeviceKind::kCpu) return Snapshot();
  return Tensor(dtype_, shape_,
                Buffer::Borrow(data(), static_cast<size_t>(bytes()), [pin = chunk_] {}));
}

void Variable::Write(int copy, const Tensor& value) {
  const DeviceId d = device(copy);
  if (LiveDevice* live = LiveDevice::Of(d)) {
    if (!value.on_host()) live->SettleChecks();  // what was computed from bad data is no state
    live->CopyToDevice(data(copy), value);
    return;
  }
  const Tensor host = value.OnHost();
  FindBackend(d.kind).CopyToDevice(d.ordinal, data(copy), host.raw(),
                                   static_cast<size_t>(host.bytes()));
}

void Variable::Assign(const Tensor& value) {
  if (value.dtype() != dtype_ || !(value.shape() == shape_)) {
    Fail(ErrorCode::kInvalidArgument, "variable '", name_, "': cannot assign a value of ",
         ValueType{value.dtype(), value.shape()}, "; it holds ", ValueType{dtype_, shape_},
         "; use cast or reshape first");
  }
  if (parts_.any()) {
    const Tensor host = value.OnHost();
    for (int c = 0; c < num_copies(); ++c) Write(c, PartOf(host, parts_.first + c));
  } else {
    Write(0, value);
    const Tensor rest = copies_ == Copies::kSummed ? Tensor::Zeros(dtype_, shape_) : value;
    for (int c = 1; c < num_copies(); ++c) Write(c, rest);
  }
  is_behind_ = is_spread_ = false;
  written_at_.store(StateClock::Tick(), std::memory_order_relaxed);
}

void Variable::AssignCopy(int copy, const Tensor& value) {
  OSTRIA_CHECK(value.dtype() == dtype_ && value.shape() == copy_shape());
  Write(copy, value);
  MarkCopyWritten(StateClock::Tick());
}

void Variable::MarkCopyWritten(int64_t now) {
  written_at_.store(now, std::memory_order_relaxed);
  if (copies_ != Copies::kSummed || others_.empty()) return;
  is_spread_ = true;
  spreads_.fetch_add(1, std::memory_order_acq_rel);
}

void Variable::MarkBehind() {
  if (copies_ == Copies::kSummed || others_.empty() || parts_.any()) return;
  is_behind_ = true;
  fell_behind_.fetch_add(1, std::memory_order_acq_rel);
}

void Variable::CatchUp() {
  if (is_behind_) Assign(SnapshotCopy(0));
}

void Variable::Gather() {
  if (is_spread_) Assign(Snapshot());
}

void SealStateChunks() {
  Registry& r = GetRegistry();
  std::lock_guard lock(r.mutex);
  r.open.clear();
  std::erase_if(r.mirrors, [](const auto& entry) { return entry.second.expired(); });
  std::erase_if(r.copies, [](const auto& entry) { return entry.second.expired(); });
}

}  // namespace ostria
