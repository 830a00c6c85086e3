// SPDX-License-Identifier: Apache-2.0
// Settings, the head of every call, and the order in which work runs: any order that streams and
// events allow, drawn anew at each synchronisation, so that a missing edge shows.
#include "fake_cuda/state.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>

namespace fake_cuda {

namespace {

thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
thread_local CUcontext current = nullptr;

uint64_t Setting(const char* name, uint64_t fallback) {
  const char* given = std::getenv(name);
  return given == nullptr ? fallback : std::strtoull(given, nullptr, 10);
}

void SetFailure(State& s, const std::string& spec) {
  s.since.clear();
  const auto colon = spec.find(':');
  s.fail_function = spec.substr(0, colon);
  s.fail_at = colon == std::string::npos ? 1 : std::atoll(spec.c_str() + colon + 1);
  const auto code = colon == std::string::npos ? colon : spec.find(':', colon + 1);
  const bool memory = s.fail_function.find("Alloc") != std::string::npos ||
                      s.fail_function.find("cuMemCreate") != std::string::npos;
  s.fail_code = code != std::string::npos
                    ? static_cast<CUresult>(std::atoi(spec.c_str() + code + 1))
                    : (memory ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_LAUNCH_FAILED);
}

// What stays once it happened: the context is lost.
bool IsSticky(CUresult code) {
  return code == CUDA_ERROR_ILLEGAL_ADDRESS || code == CUDA_ERROR_LAUNCH_FAILED ||
         code == CUDA_ERROR_MISALIGNED_ADDRESS || code == CUDA_ERROR_ILLEGAL_INSTRUCTION ||
         code == CUDA_ERROR_LAUNCH_TIMEOUT || code == CUDA_ERROR_ECC_UNCORRECTABLE ||
         code == CUDA_ERROR_ASSERT;
}

void Run(const OpPtr& op) {
  State& s = TheState();
  // Work behind a fault never runs.
  if (op->run && s.sticky == CUDA_SUCCESS) {
    try {
      op->run();
    } catch (const std::exception& e) {
      Fault(CUDA_ERROR_LAUNCH_FAILED, e.what());
    }
  }
  op->run = nullptr;
  op->gate = nullptr;
  op->done = true;
  op->at = std::chrono::steady_clock::now();
  op->before.clear();
  for (const OpPtr& next : op->next) {
    if (--next->waiting == 0) s.ready.push_back(next);
  }
  op->next.clear();
}

// What a device that has failed was given never runs, so nothing waits for it.
bool MayRun(const OpPtr& op) {
  return !op->gate || TheState().sticky != CUDA_SUCCESS || op->gate(&op->ticket);
}

// The first from `index` on that `wanted` accepts and that may run now; -1: none.
template <class Wanted>
std::ptrdiff_t Runnable(size_t index, const Wanted& wanted) {
  const std::vector<OpPtr>& ready = TheState().ready;
  for (size_t i = 0; i < ready.size(); ++i, index = (index + 1) % ready.size()) {
    if (wanted(ready[index]) && MayRun(ready[index])) return static_cast<std::ptrdiff_t>(index);
  }
  return -1;
}

bool Anything(const OpPtr&) { return true; }

void RunReady(size_t index) {
  State& s = TheState();
  const OpPtr op = s.ready[index];
  s.ready.erase(s.ready.begin() + static_cast<std::ptrdiff_t>(index));
  Run(op);
}

}  // namespace

State::State() {
  num_devices = static_cast<int>(std::min<uint64_t>(Setting("FAKE_CUDA_DEVICES", 2), kMaxDevices));
  version = static_cast<int>(Setting("FAKE_CUDA_VERSION", 13000));
  capability = static_cast<int>(Setting("FAKE_CUDA_CAPABILITY", 90));
  memory = Setting("FAKE_CUDA_MEMORY", memory);
  vmm = Setting("FAKE_CUDA_VMM", 1) != 0;
  random.seed(Setting("FAKE_CUDA_SEED", 0));
  ostria::kernels::host::OnSetCondition(
      [](uint64_t handle, unsigned value) { TheState().conditions.at(handle) = value; });
  const char* fail = std::getenv("FAKE_CUDA_FAIL");
  if (fail != nullptr) SetFailure(*this, fail);
  for (int i = 0; i < kMaxDevices; ++i) contexts[i].device = null_streams[i].device = i;
}

State& TheState() {
  static auto* state = new State;
  return *state;
}

Call::Call(const char* symbol, Kind kind) : lock_(TheState().mutex) {
  State& s = TheState();
  std::string function = symbol;  // which the header may have made of a shorter name
  for (const char* added : {"_v2", "_v3", "WithFlags"}) {
    if (function.ends_with(added)) function.resize(function.size() - std::strlen(added));
  }
  ++s.counts[function];
  if (function == s.fail_function && ++s.since[function] == s.fail_at) {
    result_ = s.fail_code;
    if (IsSticky(result_)) Fault(result_, std::string("a failure that was asked for: ") + symbol);
    for (const auto& capture : s.captures) {  // what fails spoils what this thread captures
      if (capture->thread == std::this_thread::get_id()) capture->invalid = true;
    }
    return;
  }
  if (function == "cuInit") return;
  if (s.pid == 0 || s.pid != static_cast<int>(getpid())) {
    result_ = CUDA_ERROR_NOT_INITIALIZED;
  } else if (s.sticky != CUDA_SUCCESS) {
    result_ = s.sticky;
  } else if (kind != kAny && current == nullptr) {
    result_ = CUDA_ERROR_INVALID_CONTEXT;
  } else if (kind == kUnsafe && thread_mode != CU_STREAM_CAPTURE_MODE_RELAXED) {
    for (const auto& capture : s.captures) {
      const bool here = capture->thread == std::this_thread::get_id();
      if ((here && capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) ||
          (capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
           (here || thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL))) {
        Invalidate(capture.get());
        result_ = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
      }
    }
  }
}

std::recursive_mutex& Mutex() { return TheState().mutex; }

int DeviceOf(CUstream stream) { return StreamOf(stream)->device; }

int CurrentDevice() { return current == nullptr ? -1 : current->device; }

CUstream StreamOf(CUstream stream) {
  const bool is_default =
      stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD;
  return is_default ? &TheState().null_streams[std::max(0, CurrentDevice())] : stream;
}

void* P(CUdeviceptr p) { return reinterpret_cast<void*>(p); }

OpPtr Submit(int device, std::function<void()> run, const std::vector<OpPtr>& before, Gate gate) {
  auto op = std::make_shared<Op>();
  op->run = std::move(run);
  op->gate = std::move(gate);
  op->device = device;
  for (const OpPtr& b : before) {
    if (b == nullptr || b->done) continue;
    op->before.push_back(b);
    b->next.push_back(op);
    ++op->waiting;
  }
  if (op->waiting == 0) TheState().ready.push_back(op);
  return op;
}

void RunUntil(const OpPtr& op) {
  if (op == nullptr) return;
  State& s = TheState();
  // Only what is needed, or anything: the oldest or the newest first, or any.
  const uint64_t way = s.random() % 4;
  std::set<const Op*> needed;
  if (way == 0) {
    std::vector<const Op*> stack = {op.get()};
    while (!stack.empty()) {
      const Op* at = stack.back();
      stack.pop_back();
      if (at->done || !needed.insert(at).second) continue;
      for (const OpPtr& b : at->before) stack.push_back(b.get());
    }
  }
  while (!op->done) {
    size_t from = s.random() % s.ready.size();
    if (way == 1) from = 0;
    if (way == 2) from = s.ready.size() - 1;
    std::ptrdiff_t index = -1;
    if (way == 0) index = Runnable(from, [&](const OpPtr& o) { return needed.contains(o.get()); });
    if (index < 0) index = Runnable(from, Anything);  // what is needed may wait for other streams
    if (index >= 0)
      RunReady(static_cast<size_t>(index));
    else
      Yield();
  }
}

void Yield() {
  TheState().mutex.unlock();
  std::this_thread::sleep_for(std::chrono::microseconds(50));
  TheState().mutex.lock();
}

void RunSome() {
  State& s = TheState();
  for (uint64_t left = s.random() % 4; left > 0 && !s.ready.empty(); --left) {
    const std::ptrdiff_t index = Runnable(s.random() % s.ready.size(), Anything);
    if (index < 0) return;
    RunReady(static_cast<size_t>(index));
  }
}

void RunAll(int device) {
  State& s = TheState();
  const auto here = [&](const OpPtr& o) { return device < 0 || o->device == device; };
  // Work of this device may wait for that of another.
  while (std::any_of(s.ready.begin(), s.ready.end(), here)) {
    const size_t from = s.random() % s.ready.size();
    std::ptrdiff_t index = Runnable(from, here);
    if (index < 0) index = Runnable(from, Anything);
    if (index >= 0)
      RunReady(static_cast<size_t>(index));
    else
      Yield();
  }
}

void Log(const std::string& what) {
  std::string& log = TheState().log;
  constexpr size_t kMost = 1 << 20;  // where nobody asks
  if (log.size() < kMost) log += what + " ";
}

void Fault(CUresult code, const std::string& what) {
  State& s = TheState();
  if (s.sticky != CUDA_SUCCESS) return;
  s.sticky = code;
  s.fault = what;
  std::fprintf(stderr, "fake CUDA driver: %s\n", what.c_str());
}

void Invalidate(Capture* capture) { capture->invalid = true; }

bool CheckRange(const char* what, uintptr_t p, size_t bytes, int device) {
  State& s = TheState();
  if (bytes == 0) return true;
  auto it = s.live.upper_bound(p);
  // Adjacent granules of one reservation are one range to a copy.
  uintptr_t at = p;
  while (it != s.live.begin()) {
    --it;
    const uintptr_t end = it->first + it->second.bytes;
    if (at >= end || (it->second.device >= 0 && it->second.device != device)) break;
    if (p + bytes <= end) return true;
    at = end;
    const int reservation = it->second.reservation;
    ++it;
    if (it == s.live.end() || it->first != at || reservation == 0 ||
        it->second.reservation != reservation) {
      break;
    }
    ++it;
  }
  const auto dead = s.dead.upper_bound(p);
  const bool freed =
      dead != s.dead.begin() && p < std::prev(dead)->first + std::prev(dead)->second.bytes;
  char text[160];
  std::snprintf(text, sizeof text, "%s: %zu bytes at %#zx are %s of device %d", what, bytes,
                static_cast<size_t>(p), freed ? "freed memory" : "not within memory", device);
  Fault(CUDA_ERROR_ILLEGAL_ADDRESS, text);
  return false;
}

bool CheckParams(const std::string& kernel, const void* params, size_t bytes, int device) {
  State& s = TheState();
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    uintptr_t word = 0;
    std::memcpy(&word, static_cast<const char*>(params) + i, sizeof word);
    const auto live = s.live.upper_bound(word);
    if (live != s.live.begin()) {
      const auto& [first, range] = *std::prev(live);
      if (word < first + range.bytes) {
        if (range.device < 0 || range.device == device) continue;
        Fault(CUDA_ERROR_ILLEGAL_ADDRESS, kernel + ": a pointer to memory of another device");
        return false;
      }
    }
    const auto dead = s.dead.upper_bound(word);
    if (dead == s.dead.begin()) continue;
    const auto& [first, range] = *std::prev(dead);
    if (word < first + range.bytes) {
      Fault(CUDA_ERROR_ILLEGAL_ADDRESS, kernel + ": a pointer to freed memory");
      return false;
    }
  }
  return true;
}

}  // namespace fake_cuda

using fake_cuda::Call;
using fake_cuda::State;
using fake_cuda::TheState;

extern "C" {

int64_t fake_cuda_count(const char* function) {
  std::lock_guard lock(TheState().mutex);
  return TheState().counts[function];
}
void fake_cuda_add(const char* function) {
  std::lock_guard lock(TheState().mutex);
  ++TheState().counts[function];
}
void fake_cuda_fail(const char* spec) {
  std::lock_guard lock(TheState().mutex);
  fake_cuda::SetFailure(TheState(), spec);
}
void fake_cuda_seed(uint64_t seed) {
  std::lock_guard lock(TheState().mutex);
  TheState().random.seed(seed);
}
void fake_cuda_memory(uint64_t bytes) {
  std::lock_guard lock(TheState().mutex);
  TheState().memory = bytes;
  std::fill_n(TheState().used, fake_cuda::kMaxDevices, 0);
}
int64_t fake_cuda_used(int device) {
  std::lock_guard lock(TheState().mutex);
  return TheState().used[device];
}
void fake_cuda_devices(int count) {
  std::lock_guard lock(TheState().mutex);
  TheState().num_devices = std::min(count, fake_cuda::kMaxDevices);
}
void fake_cuda_vmm(int supported) {
  std::lock_guard lock(TheState().mutex);
  TheState().vmm = supported != 0;
}
void fake_cuda_reset() {
  std::lock_guard lock(TheState().mutex);
  TheState().sticky = CUDA_SUCCESS;
  TheState().fault.clear();
}
const char* fake_cuda_log() {
  std::lock_guard lock(fake_cuda::TheState().mutex);
  fake_cuda::State& s = fake_cuda::TheState();
  s.last_log = std::exchange(s.log, {});
  return s.last_log.c_str();
}
const char* fake_cuda_last_fault() {
  std::lock_guard lock(TheState().mutex);
  return TheState().fault.c_str();
}

CUresult cuCtxSetCurrent(CUcontext c) {
  FAKE_CALL(kAny);
  fake_cuda::current = c;
  return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext* c) {
  FAKE_CALL(kAny);
  *c = fake_cuda::current;
  return CUDA_SUCCESS;
}
CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  std::swap(*mode, fake_cuda::thread_mode);  // whatever happened to the device
  return CUDA_SUCCESS;
}

}  // extern "C"
