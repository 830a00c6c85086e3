// SPDX-License-Identifier: Apache-2.0
// A driver over host memory: the functions of csrc/backend/cuda/driver.h, so that the whole backend
// runs, under sanitizers too, where there is no GPU. Device memory is host memory, a launch runs
// the host's build of the kernel at once, a captured graph is a list of closures. Counts what it is
// asked, so that tests can say what a step may not do.
#include <cuda.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "fake_cuda/fake_cuda.h"
#include "kernels/host/shim.h"

// The types that the driver's interface only declares.
struct CUctx_st {
  int device;
};
struct CUmod_st {
  void* library;  // of generated code, opened by the fake compiler; nullptr: kernels of our own
};
struct CUfunc_st {
  std::string name;
  ostria::kernels::host::Body body = nullptr;
};
struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};
struct CUstream_st {
  CUgraph_st* capture = nullptr;
};
struct CUevent_st {
  CUgraph_st* capture = nullptr;
};

namespace {

std::mutex mutex;
std::map<std::string, int64_t> counts;
thread_local CUcontext current = nullptr;
CUctx_st contexts[8];

int NumDevices() {
  const char* given = std::getenv("FAKE_CUDA_DEVICES");
  return given == nullptr ? 2 : std::atoi(given);
}

void Count(const char* what) {
  std::lock_guard lock(mutex);
  ++counts[what];
}

// Now, or when the captured graph is launched.
void Do(CUstream stream, std::function<void()> work) {
  if (stream != nullptr && stream->capture != nullptr) {
    stream->capture->work.push_back(std::move(work));
  } else {
    work();
  }
}

void* P(CUdeviceptr p) { return reinterpret_cast<void*>(p); }

}  // namespace

extern "C" {

int64_t fake_cuda_count(const char* function) {
  std::lock_guard lock(mutex);
  return counts[function];
}

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int* v) {
  *v = 13000;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int* n) {
  *n = NumDevices();
  return CUDA_SUCCESS;
}
CUresult cuDeviceGet(CUdevice* d, int i) {
  if (i < 0 || i >= NumDevices()) return CUDA_ERROR_INVALID_DEVICE;
  *d = i;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char* name, int size, CUdevice) {
  std::strncpy(name, "fake-cuda", static_cast<size_t>(size));
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int* v, CUdevice_attribute a, CUdevice) {
  switch (a) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *v = 9; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *v = 0; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *v = 4; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *v = 232448; break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *v = 52428800; break;
    default: *v = 1; break;
  }
  return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem(size_t* bytes, CUdevice) {
  *bytes = size_t{8} << 30;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetPCIBusId(char* id, int size, CUdevice d) {
  std::snprintf(id, static_cast<size_t>(size), "0000:%02x:00.0", d);
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext* c, CUdevice d) {
  Count("cuDevicePrimaryCtxRetain");
  contexts[d].device = d;
  *c = &contexts[d];
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext c) {
  current = c;
  return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext* c) {
  *c = current;
  return CUDA_SUCCESS;
}
CUresult cuMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t{8} << 30;
  return CUDA_SUCCESS;
}
CUresult cuMemAlloc(CUdeviceptr* p, size_t bytes) {
  Count("cuMemAlloc");
  void* memory = std::aligned_alloc(256, (bytes + 511) / 256 * 256);
  if (memory == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  std::memset(memory, 0xff, bytes);  // NaN, whatever the type
  *p = reinterpret_cast<CUdeviceptr>(memory);
  return CUDA_SUCCESS;
}
CUresult cuMemFree(CUdeviceptr p) {
  Count("cuMemFree");
  std::free(P(p));
  return CUDA_SUCCESS;
}
CUresult cuMemHostAlloc(void** p, size_t bytes, unsigned) {
  Count("cuMemHostAlloc");
  *p = std::aligned_alloc(256, (bytes + 511) / 256 * 256);
  return CUDA_SUCCESS;
}
CUresult cuMemFreeHost(void* p) {
  std::free(p);
  return CUDA_SUCCESS;
}
CUresult cuMemHostGetDevicePointer(CUdeviceptr* d, void* p, unsigned) {
  *d = reinterpret_cast<CUdeviceptr>(p);
  return CUDA_SUCCESS;
}
CUresult cuMemcpyHtoD(CUdeviceptr d, const void* s, size_t n) {
  Count("cuMemcpyHtoD");
  std::memcpy(P(d), s, n);
  return CUDA_SUCCESS;
}
CUresult cuMemcpyDtoH(void* d, CUdeviceptr s, size_t n) {
  Count("cuMemcpyDtoH");
  std::memcpy(d, P(s), n);
  return CUDA_SUCCESS;
}
CUresult cuMemcpyHtoDAsync(CUdeviceptr d, const void* s, size_t n, CUstream stream) {
  Do(stream, [=] { std::memcpy(P(d), s, n); });
  return CUDA_SUCCESS;
}
CUresult cuMemcpyDtoHAsync(void* d, CUdeviceptr s, size_t n, CUstream stream) {
  Do(stream, [=] { std::memcpy(d, P(s), n); });
  return CUDA_SUCCESS;
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream stream) {
  Do(stream, [=] { std::memmove(P(d), P(s), n); });
  return CUDA_SUCCESS;
}
CUresult cuMemsetD8Async(CUdeviceptr d, unsigned char v, size_t n, CUstream stream) {
  Do(stream, [=] { std::memset(P(d), v, n); });
  return CUDA_SUCCESS;
}
CUresult cuMemsetD8(CUdeviceptr d, unsigned char v, size_t n) {
  std::memset(P(d), v, n);
  return CUDA_SUCCESS;
}
CUresult cuMemAddressReserve(CUdeviceptr*, size_t, size_t, CUdeviceptr, unsigned long long) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuMemAddressFree(CUdeviceptr, size_t) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuMemCreate(CUmemGenericAllocationHandle*, size_t, const CUmemAllocationProp*,
                     unsigned long long) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuMemRelease(CUmemGenericAllocationHandle) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuMemMap(CUdeviceptr, size_t, size_t, CUmemGenericAllocationHandle, unsigned long long) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuMemUnmap(CUdeviceptr, size_t) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuMemSetAccess(CUdeviceptr, size_t, const CUmemAccessDesc*, size_t) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuMemGetAllocationGranularity(size_t* n, const CUmemAllocationProp*,
                                       CUmemAllocationGranularity_flags) {
  *n = size_t{2} << 20;
  return CUDA_SUCCESS;
}

CUresult cuStreamCreateWithPriority(CUstream* s, unsigned, int) {
  *s = new CUstream_st;
  return CUDA_SUCCESS;
}
CUresult cuStreamDestroy(CUstream s) {
  delete s;
  return CUDA_SUCCESS;
}
CUresult cuStreamSynchronize(CUstream) {
  Count("cuStreamSynchronize");
  return CUDA_SUCCESS;
}
CUresult cuStreamQuery(CUstream) { return CUDA_SUCCESS; }
CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned) {
  if (e->capture != nullptr) s->capture = e->capture;
  return CUDA_SUCCESS;
}
CUresult cuStreamBeginCapture(CUstream s, CUstreamCaptureMode) {
  s->capture = new CUgraph_st;
  return CUDA_SUCCESS;
}
CUresult cuStreamEndCapture(CUstream s, CUgraph* g) {
  *g = s->capture;
  s->capture = nullptr;
  return *g == nullptr ? CUDA_ERROR_ILLEGAL_STATE : CUDA_SUCCESS;
}
CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode*) { return CUDA_SUCCESS; }
CUresult cuEventCreate(CUevent* e, unsigned) {
  *e = new CUevent_st;
  return CUDA_SUCCESS;
}
CUresult cuEventDestroy(CUevent e) {
  delete e;
  return CUDA_SUCCESS;
}
CUresult cuEventRecord(CUevent e, CUstream s) {
  e->capture = s == nullptr ? nullptr : s->capture;
  return CUDA_SUCCESS;
}
CUresult cuEventQuery(CUevent) { return CUDA_SUCCESS; }
CUresult cuEventSynchronize(CUevent) {
  Count("cuEventSynchronize");
  return CUDA_SUCCESS;
}
CUresult cuEventElapsedTime(float* ms, CUevent, CUevent) {
  *ms = 1;
  return CUDA_SUCCESS;
}
CUresult cuGraphInstantiate(CUgraphExec* e, CUgraph g, unsigned long long) {
  Count("cuGraphInstantiate");
  *e = new CUgraphExec_st{g->work};
  return CUDA_SUCCESS;
}
CUresult cuGraphExecDestroy(CUgraphExec e) {
  delete e;
  return CUDA_SUCCESS;
}
CUresult cuGraphDestroy(CUgraph g) {
  delete g;
  return CUDA_SUCCESS;
}
CUresult cuGraphLaunch(CUgraphExec e, CUstream) {
  Count("cuGraphLaunch");
  for (const auto& work : e->work) work();
  return CUDA_SUCCESS;
}
CUresult cuGraphUpload(CUgraphExec, CUstream) { return CUDA_SUCCESS; }
CUresult cuGraphGetNodes(CUgraph g, CUgraphNode*, size_t* n) {
  *n = g->work.size();
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule* m, const void* image) {
  Count("cuModuleLoadData");
  *m = new CUmod_st{fake_cuda_open_generated(image)};
  return CUDA_SUCCESS;
}
CUresult cuModuleUnload(CUmodule m) {
  delete m;
  return CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction* f, CUmodule m, const char* name) {
  if (m->library != nullptr) {
    auto* body = fake_cuda_generated_body(m->library, name);
    if (body == nullptr) return CUDA_ERROR_NOT_FOUND;
    *f = new CUfunc_st{name, body};
    return CUDA_SUCCESS;
  }
  if (!ostria::kernels::host::Knows(name)) return CUDA_ERROR_NOT_FOUND;
  *f = new CUfunc_st{name, nullptr};
  return CUDA_SUCCESS;
}
CUresult cuFuncGetAttribute(int* v, CUfunction_attribute, CUfunction) {
  *v = 0;
  return CUDA_SUCCESS;
}
CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                        unsigned by, unsigned bz, unsigned shared, CUstream stream, void**,
                        void** extra) {
  Count("cuLaunchKernel");
  const auto* params = static_cast<const char*>(extra[1]);
  const size_t bytes = *static_cast<const size_t*>(extra[3]);
  std::vector<char> copy(params, params + bytes);
  Do(stream, [=, copy = std::move(copy)] {
    if (f->body != nullptr) {
      ostria::kernels::host::LaunchBody(f->body, {gx, gy, gz}, {bx, by, bz}, shared, copy.data());
    } else {
      ostria::kernels::host::Launch(f->name.c_str(), {gx, gy, gz}, {bx, by, bz}, shared,
                                    copy.data(), bytes);
    }
  });
  return CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult r, const char** text) {
  *text = r == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
  return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult r, const char** text) {
  *text = r == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "an error of the fake driver";
  return CUDA_SUCCESS;
}

}  // extern "C"
