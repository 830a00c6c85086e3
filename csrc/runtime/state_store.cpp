// SPDX-License-Identifier: Apache-2.0
#include "runtime/state_store.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "backend/backend.h"

namespace ostria {

// One reserved range of addresses. Pages cost memory when a variable first touches them.
class StateChunk {
 public:
  StateChunk(DeviceId device, DType dtype, int64_t capacity)
      : device(device), dtype(dtype), capacity(capacity), id(next_id++) {
    base = static_cast<std::byte*>(
        FindBackend(device.kind).Reserve(device.ordinal, static_cast<size_t>(capacity)));
  }
  ~StateChunk() {
    FindBackend(device.kind).Release(device.ordinal, base, static_cast<size_t>(capacity));
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
  int64_t next_variable = 1;
};

Registry& GetRegistry() {
  static Registry* registry = new Registry;  // variables may outlive static teardown
  return *registry;
}

int64_t Aligned(int64_t bytes) {
  constexpr int64_t a = kAlignment;
  return (bytes + a - 1) / a * a;
}

}  // namespace

std::shared_ptr<Variable> Variable::Create(std::string name, const Tensor& initial, StateClass cls,
                                           DeviceId device) {
  if (name.empty()) Fail(ErrorCode::kInvalidArgument, "variable: the name is empty; give it one");
  Registry& r = GetRegistry();
  std::lock_guard lock(r.mutex);
  const int64_t bytes = Aligned(initial.bytes());
  std::weak_ptr<StateChunk>& open = r.open[{device, initial.dtype(), cls}];
  std::shared_ptr<StateChunk> chunk = open.lock();
  if (chunk == nullptr || chunk->used + bytes > chunk->capacity) {
    chunk = std::make_shared<StateChunk>(device, initial.dtype(), std::max(kChunkAddresses, bytes));
    open = chunk;
  }
  std::shared_ptr<Variable> v(new Variable);
  v->id_ = r.next_variable++;
  v->name_ = std::move(name);
  v->dtype_ = initial.dtype();
  v->shape_ = initial.shape();
  v->class_ = cls;
  v->trainable = cls == StateClass::kTrainable;
  v->offset_ = chunk->used;
  chunk->used += bytes;
  v->chunk_ = std::move(chunk);
  v->Assign(initial);
  return v;
}

std::shared_ptr<Variable> Variable::CreateSlot(const std::shared_ptr<Variable>& of,
                                               std::string_view kind, double fill) {
  Registry& r = GetRegistry();
  std::shared_ptr<Variable> v(new Variable);
  {
    std::lock_guard lock(r.mutex);
    std::weak_ptr<StateChunk>& mirror = r.mirrors[{of->chunk_->id, std::string(kind)}];
    v->chunk_ = mirror.lock();
    if (v->chunk_ == nullptr) {
      v->chunk_ =
          std::make_shared<StateChunk>(of->chunk_->device, of->dtype_, of->chunk_->capacity);
      mirror = v->chunk_;
    }
    v->id_ = r.next_variable++;
  }
  v->trainable = false;  // an optimizer writes it
  v->name_ = StrCat(of->name_, "/", kind);
  v->dtype_ = of->dtype_;
  v->shape_ = of->shape_;
  v->offset_ = of->offset_;
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

Variable::~Variable() = default;

DeviceId Variable::device() const { return chunk_->device; }
int64_t Variable::chunk_id() const { return chunk_->id; }
void* Variable::data() const { return chunk_->base + offset_; }

Tensor Variable::Snapshot() const {
  Tensor t = Tensor::Empty(dtype_, shape_);
  const DeviceId d = chunk_->device;
  FindBackend(d.kind).CopyToHost(d.ordinal, t.raw(), data(), static_cast<size_t>(bytes()));
  return t;
}

Tensor Variable::View() const {
  if (chunk_->device.kind != DeviceKind::kCpu) return Snapshot();
  return Tensor(dtype_, shape_,
                Buffer::Borrow(data(), static_cast<size_t>(bytes()), [pin = chunk_] {}));
}

void Variable::Assign(const Tensor& value) {
  if (value.dtype() != dtype_ || !(value.shape() == shape_)) {
    Fail(ErrorCode::kInvalidArgument, "variable '", name_, "': cannot assign a value of ",
         ValueType{value.dtype(), value.shape()}, "; it holds ", ValueType{dtype_, shape_},
         "; use cast or reshape first");
  }
  const DeviceId d = chunk_->device;
  FindBackend(d.kind).CopyToDevice(d.ordinal, data(), value.raw(), static_cast<size_t>(bytes()));
  MarkWritten(StateClock::Tick());
}

void SealStateChunks() {
  Registry& r = GetRegistry();
  std::lock_guard lock(r.mutex);
  r.open.clear();
  std::erase_if(r.mirrors, [](const auto& entry) { return entry.second.expired(); });
}

}  // namespace ostria
