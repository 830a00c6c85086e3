// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/device.h"

#include <cstring>
#include <map>

#include "backend/cuda/embedded.h"
#include "kernels/common/data_error.h"

namespace ostria::cuda {
namespace {

int Attribute(CUdevice device, CUdevice_attribute attribute) {
  int value = 0;
  CheckDriver(Driver().cuDeviceGetAttribute(&value, attribute, device), "reading a property");
  return value;
}

void Initialise() {
  static const bool done = [] {
    CheckDriver(Driver().cuInit(0), "starting the driver");
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

int CudaDevice::Count() {
  Initialise();
  int count = 0;
  CheckDriver(Driver().cuDeviceGetCount(&count), "counting devices");
  return count;
}

CudaDevice& CudaDevice::Get(int ordinal) {
  static std::mutex mutex;
  static auto* devices = new std::map<int, CudaDevice*>;  // they outlive static teardown
  std::lock_guard lock(mutex);
  CudaDevice*& device = (*devices)[ordinal];
  if (device == nullptr) device = new CudaDevice(ordinal);
  return *device;
}

CudaDevice::CudaDevice(int ordinal) : ordinal_(ordinal) {
  const int count = Count();
  if (ordinal < 0 || ordinal >= count) {
    Fail(ErrorCode::kDeviceUnavailable, "device 'cuda:", ordinal, "' does not exist; ",
         count == 0 ? std::string("the driver sees no GPU (see CUDA_VISIBLE_DEVICES)")
                    : StrCat("there are ", count, ", numbered from 0"));
  }
  CheckDriver(Driver().cuDeviceGet(&handle_, ordinal), "opening a device");
  CheckDriver(Driver().cuDevicePrimaryCtxRetain(&context_, handle_), "making a context");
  MakeCurrent();
  char name[256] = {};
  CheckDriver(Driver().cuDeviceGetName(name, sizeof name, handle_), "reading a name");
  props_.kind = DeviceKind::kCuda;
  props_.compute_capability =
      10 * Attribute(handle_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
      Attribute(handle_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  props_.name = StrCat("cuda:sm_", props_.compute_capability);
  props_.multiprocessors = Attribute(handle_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  props_.shared_bytes = Attribute(handle_, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  props_.l2_bytes = Attribute(handle_, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  void* host = nullptr;
  CheckDriver(Driver().cuMemHostAlloc(&host, sizeof(DataErrorWord), CU_MEMHOSTALLOC_DEVICEMAP),
              "allocating pinned memory");
  data_error_host_ = new (host) DataErrorWord;
  CUdeviceptr seen = 0;
  CheckDriver(Driver().cuMemHostGetDevicePointer(&seen, host, 0), "mapping pinned memory");
  data_error_ = reinterpret_cast<DataErrorWord*>(seen);
}

void CudaDevice::MakeCurrent() const {
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
    CheckDriver(result, StrCat("loading kernels ", module, " into ", props_.name));
  }
  CUfunction found = nullptr;
  CheckDriver(Driver().cuModuleGetFunction(&found, modules_[module], std::string(function).c_str()),
              StrCat("finding kernel ", function, " in ", module));
  functions_.emplace(key, found);
  return found;
}

CUfunction CudaDevice::Kernel(std::string_view file, std::string_view function) {
  return FunctionOf(std::string(file), EmbeddedKernels(file), function);
}

CUfunction CudaDevice::Generated(std::string_view cubin, std::string_view function) {
  return FunctionOf(StrCat("generated:", cubin), cubin, function);
}

DataError CudaDevice::TakeDataError() {
  auto* word = const_cast<volatile DataErrorWord*>(data_error_host_);
  if (word->taken == 0 || word->step < 0) return {};
  DataError found{word->step, word->value, word->low, word->high};
  word->step = -1;
  word->taken = 0;
  return found;
}

}  // namespace ostria::cuda
