// SPDX-License-Identifier: Apache-2.0
// A driver over host memory: the functions of csrc/backend/cuda/libraries/driver.h, so that the
// whole backend runs, under sanitizers too, where there is no GPU. Here: devices, modules and
// launches; memory.cpp and stream.cpp have the rest, state.h says how work runs. It is stricter
// than a real driver where that helps to find mistakes, and never more lenient.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "fake_cuda/state.h"
#include "kernels/host/shim.h"

using fake_cuda::Call;
using fake_cuda::State;

namespace {

constexpr int kSharedOptin = 232448;

// Those of an H100, with few multiprocessors so that grids are small.
int Attribute(const State& s, CUdevice_attribute a, CUdevice device) {
  switch (a) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return s.capability / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return s.capability % 10;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return 4;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return 49152;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return kSharedOptin;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return 233472;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 52428800;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID: return device;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return 1 + device;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1980000;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 2619000;
    case CU_DEVICE_ATTRIBUTE_TCC_DRIVER: return 0;
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED: return s.vmm ? 1 : 0;
    default: return 1;
  }
}

struct alignas(64) Aligned {
  char bytes[64];
};

struct NamedCode {
  CUresult code;
  const char *name, *text;
};
constexpr NamedCode kCodes[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed now"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {CUDA_ERROR_STREAM_CAPTURE_MERGE, "CUDA_ERROR_STREAM_CAPTURE_MERGE",
     "operation would result in a merge of separate capture sequences"},
    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "capture was not ended in the same stream as it began"},
    {CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
     "capturing stream has unjoined work"},
    {CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "dependency created on uncaptured work in another stream"},
    {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {CUDA_ERROR_CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT",
     "operation not permitted on an event last recorded in a capturing stream"},
    {CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

// Whether its text was made at run time.
bool IsGenerated(const CUfunc_st* f) { return f->body != nullptr || f->loops != nullptr; }

}  // namespace

extern "C" {

CUresult cuInit(unsigned) {
  FAKE_CALL(kAny);
  if (call->pid != 0 && call->pid != static_cast<int>(getpid())) return CUDA_ERROR_NOT_INITIALIZED;
  if (call->num_devices == 0) return CUDA_ERROR_NO_DEVICE;
  call->pid = static_cast<int>(getpid());
  return CUDA_SUCCESS;
}
CUresult cuDriverGetVersion(int* v) {  // before cuInit too
  *v = fake_cuda::TheState().version;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int* n) {
  FAKE_CALL(kAny);
  *n = call->num_devices;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGet(CUdevice* d, int i) {
  FAKE_CALL(kAny);
  if (i < 0 || i >= call->num_devices) return CUDA_ERROR_INVALID_DEVICE;
  *d = i;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char* name, int size, CUdevice) {
  FAKE_CALL(kAny);
  std::snprintf(name, static_cast<size_t>(size), "Fake H100 \"on the host\"");
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int* v, CUdevice_attribute a, CUdevice d) {
  FAKE_CALL(kAny);
  *v = Attribute(*call.operator->(), a, d);
  return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem(size_t* bytes, CUdevice) {
  FAKE_CALL(kAny);
  *bytes = call->memory;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetPCIBusId(char* id, int size, CUdevice d) {
  FAKE_CALL(kAny);
  std::snprintf(id, static_cast<size_t>(size), "0000:%02x:00.0", 1 + d);
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext* c, CUdevice d) {
  FAKE_CALL(kAny);
  *c = &call->contexts[d];
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice) {
  FAKE_CALL(kAny);
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule* m, const void* image) {
  FAKE_CALL(kUnsafe);
  auto loops = fake_cuda::OpenInterpreted(image);
  void* const library = loops == nullptr ? fake_cuda_open_generated(image) : nullptr;
  *m = new CUmod_st{library, std::move(loops), fake_cuda::CurrentDevice()};
  return CUDA_SUCCESS;
}
CUresult cuModuleUnload(CUmodule m) {
  FAKE_CALL(kUnsafe);
  delete m;
  return CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction* f, CUmodule m, const char* name) {
  FAKE_CALL(kNeedsContext);
  ostria::kernels::host::Body body = nullptr;
  if (m->library != nullptr) {
    body = fake_cuda_generated_body(m->library, name);
    if (body == nullptr) return CUDA_ERROR_NOT_FOUND;
  } else if (m->loops == nullptr && !ostria::kernels::host::Knows(name)) {
    return CUDA_ERROR_NOT_FOUND;
  }
  *f = new CUfunc_st{name, body, m->loops, m->device};
  return CUDA_SUCCESS;
}
CUresult cuFuncGetAttribute(int* v, CUfunction_attribute a, CUfunction f) {
  FAKE_CALL(kAny);
  switch (a) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *v = IsGenerated(f) ? 1024 : ostria::kernels::host::MaxThreads(f->name.c_str());
      break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *v = 32; break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *v = call->capability; break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *v = f->max_dynamic_shared; break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: *v = -1; break;
    default: *v = 0; break;
  }
  return CUDA_SUCCESS;
}
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) {
  FAKE_CALL(kAny);
  if (a == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    if (v < 0 || v > kSharedOptin) return CUDA_ERROR_INVALID_VALUE;
    f->max_dynamic_shared = v;
  }
  return CUDA_SUCCESS;
}
CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                        unsigned by, unsigned bz, unsigned shared, CUstream stream, void**,
                        void** extra) {
  FAKE_CALL(kNeedsContext);
  // As with the real one, the stream's device has to be current, and the kernel loaded there.
  if (f == nullptr || fake_cuda::StreamOf(stream)->device != f->device ||
      f->device != fake_cuda::CurrentDevice()) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  const uint64_t threads = uint64_t{bx} * by * bz;
  if (gx == 0 || gy == 0 || gz == 0 || threads == 0 || gx > 2147483647u || gy > 65535 ||
      gz > 65535 || threads > 1024 || bz > 64 || extra == nullptr ||
      shared > static_cast<unsigned>(f->max_dynamic_shared)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (!IsGenerated(f) &&
      threads > static_cast<uint64_t>(ostria::kernels::host::MaxThreads(f->name.c_str()))) {
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  }
  const auto* params = static_cast<const char*>(extra[1]);
  const size_t bytes = *static_cast<const size_t*>(extra[3]);
  // Aligned as the device aligns its parameters.
  std::vector<Aligned> copy(bytes / sizeof(Aligned) + 1);
  std::memcpy(copy.data(), params, bytes);
  return fake_cuda::Enqueue(stream, [=, name = f->name, body = f->body, loops = f->loops,
                                     device = f->device, copy = std::move(copy)] {
    if (!fake_cuda::CheckParams(name, copy.data(), bytes, device)) return;
    fake_cuda::Log(name);
    if (loops != nullptr) {
      // A kernel that joins pieces finds nothing left to do.
      const auto it = loops->find(name);
      if (it != loops->end()) fake_cuda::RunInterpreted(it->second, copy.data());
    } else if (body != nullptr) {
      ostria::kernels::host::LaunchBody(body, {gx, gy, gz}, {bx, by, bz}, shared, copy.data());
    } else {
      ostria::kernels::host::Launch(name.c_str(), {gx, gy, gz}, {bx, by, bz}, shared, copy.data(),
                                    bytes);
    }
  });
}
CUresult cuGetErrorName(CUresult r, const char** text) {
  *text = "CUDA_ERROR_OF_THE_FAKE_DRIVER";
  for (const NamedCode& c : kCodes) {
    if (c.code == r) *text = c.name;
  }
  return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult r, const char** text) {
  *text = "an error of the fake driver";
  for (const NamedCode& c : kCodes) {
    if (c.code == r) *text = c.text;
  }
  return CUDA_SUCCESS;
}

}  // extern "C"
