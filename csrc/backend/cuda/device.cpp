// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/device.h"

#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <vector>

#include "backend/cuda/launch/embedded.h"
#include "backend/cuda/properties.h"
#include "kernels/common/data_error.h"

namespace ostria::cuda {
namespace {

std::atomic<bool> forked{false};

struct Devices {
  std::mutex mutex;
  std::map<int, CudaDevice*> made;
};
Devices& TheDevices() {
  static auto* devices = new Devices;  // they outlive static teardown
  return *devices;
}

[[noreturn]] void NoGpu() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  Fail(ErrorCode::kDeviceUnavailable, "cuda: the driver sees no GPU; CUDA_VISIBLE_DEVICES is ",
       visible == nullptr ? std::string("not set") : StrCat("'", visible, "'"),
       visible == nullptr ? "; `nvidia-smi` shows what the driver knows"
                          : "; unset it, or list devices that `nvidia-smi` shows");
}

void Initialise() {
  static const bool done = [] {
    const CUresult result = Driver().cuInit(0);
    if (result == CUDA_ERROR_NO_DEVICE) NoGpu();
    if (result != CUDA_SUCCESS) {
      Fail(ErrorCode::kDeviceUnavailable, "cuda: the driver does not start: ", DriverText(result),
           "; see whether `nvidia-smi` works");
    }
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

bool CudaDevice::Usable() { return !forked.load(std::memory_order_relaxed); }

int CudaDevice::Count() {
  Initialise();
  int count = 0;
  CheckDriver(Driver().cuDeviceGetCount(&count), "counting devices");
  return count;
}

CudaDevice& CudaDevice::Get(int ordinal) {
  std::lock_guard lock(TheDevices().mutex);
  CudaDevice*& device = TheDevices().made[ordinal];
  if (device == nullptr) {
    try {
      device = new CudaDevice(ordinal);
    } catch (...) {
      TheDevices().made.erase(ordinal);
      throw;
    }
  }
  return *device;
}

CudaDevice& CudaDevice::Any() {
  {
    std::lock_guard lock(TheDevices().mutex);
    if (!TheDevices().made.empty()) return *TheDevices().made.begin()->second;
  }
  return Get(0);
}

CudaDevice::CudaDevice(int ordinal) : ordinal_(ordinal) {
  const int count = Count();
  if (count == 0) NoGpu();
  if (ordinal < 0 || ordinal >= count) {
    Fail(ErrorCode::kDeviceUnavailable, "device 'cuda:", ordinal, "' does not exist; there ",
         count == 1 ? std::string("is one, 'cuda:0'") : StrCat("are ", count, ", numbered from 0"));
  }
  CheckDriver(Driver().cuDeviceGet(&handle_, ordinal), "opening a device");
  props_ = ReadProperties(handle_);
  CheckArchitecture(ordinal, handle_);
  CheckDriver(Driver().cuDeviceTotalMem(&total_memory_, handle_), "reading the size of memory");
  CheckDriver(Driver().cuDevicePrimaryCtxRetain(&context_, handle_), "making a context");
  MakeCurrent();
  memory_ = std::make_unique<MemoryPool>(this);
  ReadOptions(&props_);
  void* host = nullptr;
  CheckDriver(Driver().cuMemHostAlloc(&host, sizeof(DataErrorWord), CU_MEMHOSTALLOC_DEVICEMAP),
              "allocating pinned memory");
  data_error_host_ = new (host) DataErrorWord;
  CUdeviceptr seen = 0;
  CheckDriver(Driver().cuMemHostGetDevicePointer(&seen, host, 0), "mapping pinned memory");
  data_error_ = reinterpret_cast<DataErrorWord*>(seen);
}

void CudaDevice::MakeCurrent() const {
  if (!Usable()) {
    Fail(ErrorCode::kDeviceUnavailable,
         "cuda: this process was forked from one that uses CUDA, and "
         "CUDA does not work across fork(); start it by 'spawn', or fork before CUDA is used");
  }
  CheckDriver(Driver().cuCtxSetCurrent(context_), "choosing a device");
}

CUfunction CudaDevice::FunctionOf(const std::string& module, std::string_view image,
                                  std::string_view function) {
  std::lock_guard lock(mutex_);
  const std::string key = StrCat(module, "#", function);
  const auto known = functions_.find(key);
  if (known != functions_.end()) return known->second;
  MakeCurrent();
  const auto [it, fresh] = modules_.try_emplace(module);
  if (fresh) {
    const CUresult result = Driver().cuModuleLoadData(&it->second, image.data());
    if (result != CUDA_SUCCESS) modules_.erase(it);
    CheckDriver(result, StrCat("loading kernels ",
                               module.starts_with("generated:") ? "made at run time" : module,
                               " into ", props_.name));
  }
  CUfunction found = nullptr;
  CheckDriver(Driver().cuModuleGetFunction(&found, modules_[module], std::string(function).c_str()),
              StrCat("finding kernel ", function));
  // More shared memory than 48 KiB has to be asked for.
  int fixed = 0;
  CheckDriver(Driver().cuFuncGetAttribute(&fixed, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, found),
              "reading a kernel's shared memory");
  CheckDriver(Driver().cuFuncSetAttribute(found, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                          static_cast<int>(props_.shared_bytes) - fixed),
              "allowing a kernel shared memory");
  NameLaunch(found, module.starts_with("generated:") ? std::string(function)
                                                     : StrCat(function, " of ", module));
  if (const std::string log = Environment("OSTRIA_KERNEL_LOG"); !log.empty()) {
    std::ofstream(log, std::ios::app) << function << "\n";
  }
  functions_.emplace(key, found);
  return found;
}

CUfunction CudaDevice::Kernel(std::string_view file, std::string_view function) {
  return FunctionOf(std::string(file), EmbeddedKernels(file), function);
}

CUfunction CudaDevice::Generated(std::string_view name, std::string_view cubin,
                                 std::string_view function) {
  return FunctionOf(StrCat("generated:", name), cubin, function);
}

void CudaDevice::AddStream(CUstream stream) {
  std::lock_guard lock(stream_mutex_);
  streams_.insert(stream);
}

void CudaDevice::RemoveStream(CUstream stream) {
  std::lock_guard lock(stream_mutex_);
  streams_.erase(stream);
}

CUevent CudaDevice::TakeEvent(unsigned flags) {
  {
    std::lock_guard lock(events_mutex_);
    std::vector<CUevent>& given = events_[flags];
    if (!given.empty()) {
      CUevent event = given.back();
      given.pop_back();
      return event;
    }
  }
  MakeCurrent();
  CUevent event = nullptr;
  CheckDriver(Driver().cuEventCreate(&event, flags), "making an event");
  return event;
}

// Whoever waits for it in a stream waits for what was recorded by then.
void CudaDevice::GiveEvent(CUevent event, unsigned flags) {
  std::lock_guard lock(events_mutex_);
  events_[flags].push_back(event);
}

CUresult CudaDevice::SettleOrFail() {
  const OutsideCapture outside;
  CUresult result = Driver().cuCtxSetCurrent(context_);
  std::vector<CUevent> events;
  {
    std::lock_guard lock(stream_mutex_);  // recording is short; waiting is not
    for (CUstream stream : streams_) {
      CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
      if (result == CUDA_SUCCESS) result = Driver().cuStreamIsCapturing(stream, &status);
      if (result != CUDA_SUCCESS || status != CU_STREAM_CAPTURE_STATUS_NONE) continue;
      CUevent event = nullptr;
      result = Driver().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING);
      if (result != CUDA_SUCCESS) break;
      events.push_back(event);
      result = Driver().cuEventRecord(event, stream);
    }
  }
  for (CUevent event : events) {
    if (result == CUDA_SUCCESS) result = Driver().cuEventSynchronize(event);
    Driver().cuEventDestroy(event);
  }
  return result;
}

void CudaDevice::Serve(CUresult (*enqueue)(CUstream, void*, const void*, size_t), void* dst,
                       const void* src, size_t bytes, const char* what) {
  MakeCurrent();
  const OutsideCapture outside;
  std::lock_guard lock(service_mutex_);
  if (service_ == nullptr) {
    CheckDriver(Driver().cuStreamCreateWithPriority(&service_, CU_STREAM_NON_BLOCKING, 0),
                "making a stream");
  }
  CheckDriver(enqueue(service_, dst, src, bytes), what);
  CheckDriver(Driver().cuStreamSynchronize(service_), what);
}

// Not on the null stream: a blocking copy there may return before the device has the bytes, and
// streams of ours do not wait for it.
void CudaDevice::CopyToDevice(void* dst, const void* src, size_t bytes) {
  if (bytes == 0) return;
  MakeCurrent();
  CheckDriver(SettleOrFail(), "waiting for the device");
  Serve(
      [](CUstream stream, void* to, const void* from, size_t n) {
        return Driver().cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(to), from, n, stream);
      },
      dst, src, bytes, "copying to the device");
}

void CudaDevice::CopyToHost(void* dst, const void* src, size_t bytes) {
  if (bytes == 0) return;
  MakeCurrent();
  CheckDriver(SettleOrFail(), "waiting for the device");
  Serve(
      [](CUstream stream, void* to, const void* from, size_t n) {
        return Driver().cuMemcpyDtoHAsync(to, reinterpret_cast<CUdeviceptr>(from), n, stream);
      },
      dst, src, bytes, "copying to the host");
}

void CudaDevice::Clear(void* dst, size_t bytes) {
  if (bytes == 0) return;
  Serve(
      [](CUstream stream, void* to, const void*, size_t n) {
        return Driver().cuMemsetD8Async(reinterpret_cast<CUdeviceptr>(to), 0, n, stream);
      },
      dst, nullptr, bytes, "clearing memory");
}

void CudaDevice::Lose(const std::string& why) {
  std::lock_guard lock(lost_mutex_);
  if (lost_.empty()) lost_ = why;
  is_lost_ = true;
}

DataError CudaDevice::TakeDataError() {
  if (is_lost_) {
    std::lock_guard lock(lost_mutex_);
    DataError lost;
    lost.lost = lost_;
    return lost;
  }
  auto* word = const_cast<volatile DataErrorWord*>(data_error_host_);
  if (word->taken == 0 || word->step < 0) return {};
  CheckDriver(SettleOrFail(), "waiting for the device");
  DataError found{word->step, word->value, word->low, word->high, {}};
  word->step = -1;
  word->taken = 0;
  return found;
}

}  // namespace ostria::cuda
