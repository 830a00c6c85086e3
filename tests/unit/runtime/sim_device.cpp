// SPDX-License-Identifier: Apache-2.0
#include "runtime/sim_device.h"

#include <sys/mman.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "ops/ops.h"
#include "runtime/lower.h"

namespace ostria {
namespace {

using Work = std::function<void()>;

SimCounts counts;
thread_local bool capturing = false;

constexpr auto kLate = std::chrono::microseconds(100);

// What the host sees of device memory is an address that faults.
constexpr uintptr_t kHidden = uintptr_t{1} << 62;
void* Hide(void* p) { return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(p) | kHidden); }
template <class T>
T* Real(T* p) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(p) & ~kHidden);
}

void Forbid() {
  if (capturing) ++counts.forbidden;
}

// Reports of kernels that threw.
std::mutex reports_mutex;
std::map<int, DataError> reports;

// What an event and those who wait for it share: an event may go before they do.
class Flag {
 public:
  bool Raised() const {
    std::lock_guard lock(mutex_);
    return raised_;
  }
  void Await() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return raised_; });
  }
  void Raise() {
    std::lock_guard lock(mutex_);
    raised_ = true;
    at_ = std::chrono::steady_clock::now();
    changed_.notify_all();
  }
  std::chrono::steady_clock::time_point at() const { return at_; }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool raised_ = false;
  std::chrono::steady_clock::time_point at_;
};

class SimStream;

// What is being recorded, by all streams that have joined.
struct Capture {
  std::vector<Work> work;
  std::vector<SimStream*> streams;
};

struct SimEvent final : Event {
  bool Done() const override { return flag->Raised(); }
  void Wait() const override {
    Forbid();
    ++counts.waits;
    flag->Await();
  }
  double SecondsSince(const Event& earlier) const override {
    const auto& from = static_cast<const SimEvent&>(earlier);
    return std::chrono::duration<double>(flag->at() - from.flag->at()).count();
  }
  std::shared_ptr<Flag> flag = std::make_shared<Flag>();
  std::shared_ptr<Capture> capture;
};

class SimRecording final : public Recording {
 public:
  explicit SimRecording(std::vector<Work> work)
      : work_(std::make_shared<const std::vector<Work>>(std::move(work))) {}
  void Launch(Stream& stream) const override;
  int64_t num_nodes() const override { return static_cast<int64_t>(work_->size()); }

 private:
  std::shared_ptr<const std::vector<Work>> work_;
};

class SimStream final : public Stream {
 public:
  explicit SimStream(int ordinal) : ordinal_(ordinal), thread_([this] { Loop(); }) {}
  ~SimStream() override {
    Push(nullptr);
    thread_.join();
  }
  DeviceId device() const override { return SimDevice(ordinal_); }
  void MakeCurrent() override {}
  void CopyToDevice(void* dst, const void* src, size_t bytes) override { Copy(dst, src, bytes); }
  void CopyToHost(void* dst, const void* src, size_t bytes) override { Copy(dst, src, bytes); }
  void CopyOnDevice(void* dst, const void* src, size_t bytes) override { Copy(dst, src, bytes); }
  std::shared_ptr<const Event> Record() override {
    auto event = std::make_shared<SimEvent>();
    event->capture = capture_;
    if (capture_ != nullptr) return event;  // the recording runs in the order it was made
    Push([flag = event->flag] { flag->Raise(); });
    return event;
  }
  std::shared_ptr<const Event> RecordTime() override { return Record(); }
  void WaitFor(const Event& event) override {
    const auto& e = static_cast<const SimEvent&>(event);
    if (e.capture != nullptr) return Join(e.capture);
    Push([flag = e.flag] { flag->Await(); });
  }
  void Synchronize() override {
    Forbid();
    ++counts.waits;
    static_cast<const SimEvent&>(*Record()).flag->Await();
  }
  DataError TakeDataError() override {
    std::lock_guard lock(reports_mutex);
    return std::exchange(reports[ordinal_], DataError{});
  }
  void BeginCapture() override {
    capturing = true;
    Join(std::make_shared<Capture>());
  }
  std::unique_ptr<Recording> EndCapture() override {
    capturing = false;
    ++counts.captures;
    const std::shared_ptr<Capture> capture = capture_;
    for (SimStream* s : capture->streams) s->capture_ = nullptr;
    return std::make_unique<SimRecording>(std::move(capture->work));
  }
  // Recorded, the loop runs where the recording does; else the host asks each time.
  void While(const void* flag, Stream& inner, const std::function<void()>& body) override {
    auto& within = static_cast<SimStream&>(inner);
    const auto* const holds = Real(static_cast<const bool*>(flag));
    if (capture_ == nullptr) {
      within.WaitFor(*Record());
      for (within.Synchronize(); *holds; within.Synchronize()) body();
      return WaitFor(*within.Record());
    }
    within.Join(std::make_shared<Capture>());
    body();
    const std::shared_ptr<Capture> round = within.capture_;
    for (SimStream* s : round->streams) s->capture_ = nullptr;
    Push([holds, work = std::move(round->work)] {
      while (*holds) {
        for (const Work& w : work) w();
      }
    });
  }
  void Push(Work work) {
    if (capture_ != nullptr) {
      capture_->work.push_back(std::move(work));
      return;
    }
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
    changed_.notify_one();
  }
  void PushLaunch(Work work) {
    if (capture_ == nullptr) ++counts.launches;
    Push(std::move(work));
  }

 private:
  void Join(std::shared_ptr<Capture> capture) {
    if (capture_ == capture) return;
    capture_ = std::move(capture);
    capture_->streams.push_back(this);
  }
  void Copy(void* dst, const void* src, size_t bytes) {
    Push([=] { std::memmove(Real(dst), Real(src), bytes); });
  }
  void Loop() {
    for (;;) {
      Work work;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !queue_.empty(); });
        work = std::move(queue_.front());
        queue_.pop_front();
      }
      if (!work) return;
      std::this_thread::sleep_for(kLate);
      work();
    }
  }

  int ordinal_;
  std::shared_ptr<Capture> capture_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;
  std::thread thread_;
};

void SimRecording::Launch(Stream& stream) const {
  ++counts.graph_launches;
  static_cast<SimStream&>(stream).Push([work = work_] {
    for (const Work& w : *work) w();
  });
}

const DeviceProps& CpuProps() {
  static const DeviceProps props = FindBackend(DeviceKind::kCpu).Props(0);
  return props;
}

struct SimState final : KernelState {
  const KernelDef* kernel = nullptr;
  std::shared_ptr<const KernelState> inner;
  size_t num_ptrs = 0;
  SimStream* stream = nullptr;  // bound
  int32_t step = -1;
};

const KernelDef* FindCpu(const NodeDesc& d, NodeDesc* on_cpu) {
  *on_cpu = d;
  on_cpu->device = &CpuProps();
  for (const Attr& a : d.attrs) {  // what runs bodies is the runtime's own
    if (std::holds_alternative<Body>(a) && d.op != &ops::kFused) return nullptr;
  }
  for (const KernelDef* k : KernelsFor(DeviceKind::kCpu, *d.op)) {
    if (k->supports(*on_cpu).ok) return k;
  }
  return nullptr;
}

void Enqueue(const KernelState& state, void* const* ptrs, LaunchFn launch, size_t count) {
  const auto& s = static_cast<const SimState&>(state);
  std::vector<void*> real;
  for (size_t i = 0; i < count; ++i) real.push_back(Real(ptrs[i]));
  s.stream->PushLaunch([launch, inner = s.inner, real, step = s.step,
                        ordinal = static_cast<int>(s.stream->device().ordinal)] {
    try {
      launch(*inner, real.data());
    } catch (const Error& e) {
      long value = 0, size = 0;
      std::sscanf(e.message().c_str(),
                  "index %ld (number %*d of %*d) is out of range for an axis of size %ld", &value,
                  &size);
      std::lock_guard lock(reports_mutex);
      if (reports[ordinal].step < 0) reports[ordinal] = {step, value, -size, size};
    }
  });
}

constexpr KernelDef kKernels[] = {{
    .op = nullptr,
    .impl = "sim",
    .supports =
        [](const NodeDesc& d) {
          NodeDesc on_cpu;
          return FindCpu(d, &on_cpu) != nullptr ? Support::Yes() : Support::No("not on the CPU");
        },
    .prepare = [](const NodeDesc& d) -> std::unique_ptr<KernelState> {
      NodeDesc on_cpu;
      auto state = std::make_unique<SimState>();
      state->kernel = FindCpu(d, &on_cpu);
      state->inner = state->kernel->prepare(on_cpu);
      state->num_ptrs = d.inputs.size() + d.outputs.size() + 1;
      state->workspace_bytes = state->inner->workspace_bytes;
      state->packed_input = state->inner->packed_input;
      state->packed_bytes = state->inner->packed_bytes;
      return state;
    },
    .launch =
        [](const KernelState& state, void* const* ptrs) {
          const auto& s = static_cast<const SimState&>(state);
          Enqueue(state, ptrs, s.kernel->launch, s.num_ptrs);
        },
    .alias_ok =
        [](const NodeDesc& d, int out, int in) {
          NodeDesc on_cpu;
          const KernelDef* k = FindCpu(d, &on_cpu);
          return k->alias_ok != nullptr && k->alias_ok(on_cpu, out, in);
        },
    .pack =
        [](const KernelState& state, void* const* ptrs) {
          Enqueue(state, ptrs, static_cast<const SimState&>(state).kernel->pack, 2);
        },
    .bind = [](const std::shared_ptr<const KernelState>& state,
               const BindContext& to) -> std::unique_ptr<KernelState> {
      Forbid();
      ++counts.binds;
      auto bound = std::make_unique<SimState>(static_cast<const SimState&>(*state));
      bound->stream = &static_cast<SimStream&>(to.stream);
      bound->step = to.step;
      return bound;
    },
}};

class SimBackend final : public Backend {
 public:
  DeviceKind kind() const override { return DeviceKind::kCuda; }
  DeviceProps Props(int) const override { return {.kind = DeviceKind::kCuda, .name = "sim"}; }
  std::span<const KernelDef> Kernels() const override { return kKernels; }
  int NumDevices() const override { return 2; }
  void* Reserve(int, size_t bytes) override {
    void* p = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) Fail(ErrorCode::kOutOfMemory, "sim: ", bytes, " bytes were refused");
    return Hide(p);
  }
  void Commit(int, void* base, size_t bytes) override {
    constexpr size_t kPage = 4096;
    ::mprotect(Real(base), (bytes + kPage - 1) / kPage * kPage, PROT_READ | PROT_WRITE);
  }
  void Release(int, void* base, size_t bytes) override { ::munmap(Real(base), bytes); }
  void CopyToDevice(int, void*, const void*, size_t) override { std::abort(); }  // not in order
  void CopyToHost(int, void*, const void*, size_t) override { std::abort(); }
  std::unique_ptr<Stream> MakeStream(int ordinal) override {
    auto stream = std::make_unique<SimStream>(ordinal);
    std::lock_guard lock(mutex_);
    main_.try_emplace(ordinal, stream.get());
    return stream;
  }
  // Kept by size; filled with NaN in the order of the main stream.
  void* Allocate(int ordinal, size_t bytes) override {
    Forbid();
    std::lock_guard lock(mutex_);
    auto& free = free_[{ordinal, bytes}];
    if (free.empty()) {
      ++counts.allocations;
      free.push_back(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    }
    void* const p = free.back();
    free.pop_back();
    main_[ordinal]->Push([=] { std::memset(p, 0xff, bytes); });
    return Hide(p);
  }
  void Free(int ordinal, void* data, size_t bytes) override {
    std::lock_guard lock(mutex_);
    free_[{ordinal, bytes}].push_back(Real(data));
  }
  void* AllocatePinned(size_t bytes) override {
    Forbid();
    ++counts.allocations;
    return std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  }
  void FreePinned(void* data, size_t) override { std::free(data); }

 private:
  std::mutex mutex_;
  std::map<int, SimStream*> main_;  // the first of each device
  std::map<std::pair<int, size_t>, std::vector<void*>> free_;
};

}  // namespace

SimCounts& Sim() {
  static const bool done = [] {
    RegisterBackend(new SimBackend);  // variables may outlive static teardown
    return true;
  }();
  static_cast<void>(done);
  return counts;
}

DeviceId SimDevice(int ordinal) {
  Sim();
  return {DeviceKind::kCuda, static_cast<int16_t>(ordinal)};
}

}  // namespace ostria
