// SPDX-License-Identifier: Apache-2.0
// Memory of the devices: pages of the host that nothing else uses. Fresh memory holds NaNs, freed
// memory cannot be touched and its addresses never come back, copies check their ranges when they
// run, and a device has no more than it was given.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "fake_cuda/state.h"

using fake_cuda::Call;
using fake_cuda::CheckRange;
using fake_cuda::P;
using fake_cuda::Range;
using fake_cuda::State;
using fake_cuda::StreamOf;
using fake_cuda::TheState;

namespace {

constexpr size_t kPage = 4096, kGranule = size_t{2} << 20;

struct Physical {
  int file = -1;
  size_t bytes = 0;
  int device = 0;
  int uses = 1;  // the handle and its mappings
};
std::map<unsigned long long, Physical> handles;
struct Mapping {
  size_t bytes = 0;
  unsigned long long handle = 0;
};
std::map<uintptr_t, Mapping> mappings;
std::map<uintptr_t, std::pair<size_t, int>> reservations;  // bytes, number
unsigned long long next_handle = 1;
int next_reservation = 1;

size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Pages that nobody may touch, with one behind them.
void* Reserve(size_t bytes, size_t alignment) {
  const size_t all = RoundUp(bytes, kPage) + kPage + alignment;
  void* p = mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  return P(RoundUp(reinterpret_cast<uintptr_t>(p), alignment));
}

void Forbid(void* p, size_t bytes) {
  mmap(p, RoundUp(bytes, kPage), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
       -1, 0);
}

bool Take(State* s, int device, size_t bytes) {
  const auto taken = static_cast<int64_t>(bytes);
  if (s->used[device] > static_cast<int64_t>(s->memory) - taken) return false;
  s->used[device] += taken;
  return true;
}

void* NewPages(size_t bytes) {
  void* p = Reserve(bytes, kPage);
  if (p == nullptr || mprotect(p, RoundUp(bytes, kPage), PROT_READ | PROT_WRITE) != 0)
    return nullptr;
  std::memset(p, 0xff, bytes);
  return p;
}

void Drop(unsigned long long handle) {
  Physical& m = handles[handle];
  if (--m.uses > 0) return;
  close(m.file);
  TheState().used[m.device] -= static_cast<int64_t>(m.bytes);
  handles.erase(handle);
}

// The reservation that holds the range, or nullptr.
const std::pair<const uintptr_t, std::pair<size_t, int>>* ReservationOf(uintptr_t p, size_t bytes) {
  const auto it = reservations.upper_bound(p);
  if (it == reservations.begin()) return nullptr;
  const auto& r = *std::prev(it);
  return p + bytes <= r.first + r.second.first ? &r : nullptr;
}

// The granules of a range that is mapped from end to end; empty: it is not.
std::vector<uintptr_t> MappingsOf(uintptr_t p, size_t bytes) {
  std::vector<uintptr_t> out;
  for (uintptr_t at = p; at < p + bytes;) {
    const auto it = mappings.find(at);
    if (it == mappings.end() || at + it->second.bytes > p + bytes) return {};
    out.push_back(at);
    at += it->second.bytes;
  }
  return out;
}

// One copy: a null device means that side is the host.
CUresult Copy(const char* name, CUstream stream, uintptr_t dst, bool dst_device, uintptr_t src,
              bool src_device, size_t n) {
  const int device = StreamOf(stream)->device;
  return fake_cuda::Enqueue(stream, [=] {
    if (src_device && !CheckRange(name, src, n, device)) return;
    if (dst_device && !CheckRange(name, dst, n, device)) return;
    std::memmove(P(dst), P(src), n);
    fake_cuda::Log(name);
  });
}

uintptr_t U(const void* p) { return reinterpret_cast<uintptr_t>(p); }

}  // namespace

extern "C" {

CUresult cuMemGetInfo(size_t* free, size_t* total) {
  FAKE_CALL(kNeedsContext);
  *total = call->memory;
  const auto most = static_cast<int64_t>(call->memory);
  *free = static_cast<size_t>(most -
                              std::clamp<int64_t>(call->used[fake_cuda::CurrentDevice()], 0, most));
  return CUDA_SUCCESS;
}
CUresult cuMemAlloc(CUdeviceptr* p, size_t bytes) {
  FAKE_CALL(kUnsafe);
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  const int device = fake_cuda::CurrentDevice();
  if (!Take(call.operator->(), device, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  void* memory = NewPages(bytes);
  if (memory == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  *p = U(memory);
  call->live[*p] = {bytes, device, 0};
  return CUDA_SUCCESS;
}
CUresult cuMemAllocManaged(CUdeviceptr* p, size_t bytes, unsigned flags) {
  FAKE_CALL(kUnsafe);
  if (bytes == 0 || flags != CU_MEM_ATTACH_GLOBAL) return CUDA_ERROR_INVALID_VALUE;
  void* memory = Reserve(bytes, kPage);  // pages come when they are first touched
  if (memory == nullptr || mprotect(memory, bytes, PROT_READ | PROT_WRITE) != 0) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *p = U(memory);
  call->live[*p] = {bytes, fake_cuda::CurrentDevice(), 0, true};
  return CUDA_SUCCESS;
}
CUresult cuMemFree(CUdeviceptr p) {
  FAKE_CALL(kUnsafe);
  if (p == 0) return CUDA_SUCCESS;
  const auto it = call->live.find(p);
  if (it == call->live.end() || it->second.device < 0 || it->second.reservation != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Range range = it->second;
  fake_cuda::RunAll(range.device);  // as the driver, it waits
  Forbid(P(p), range.bytes);
  if (!range.managed) call->used[range.device] -= static_cast<int64_t>(range.bytes);
  call->live.erase(p);
  call->dead[p] = range;
  return call->sticky;
}
CUresult cuMemHostAlloc(void** p, size_t bytes, unsigned) {
  FAKE_CALL(kUnsafe);
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  *p = NewPages(bytes);
  if (*p == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  call->live[U(*p)] = {bytes, -1, 0};
  return CUDA_SUCCESS;
}
CUresult cuMemFreeHost(void* p) {
  FAKE_CALL(kUnsafe);
  const auto it = call->live.find(U(p));
  if (it == call->live.end() || it->second.device >= 0) return CUDA_ERROR_INVALID_VALUE;
  fake_cuda::RunAll(-1);
  Forbid(p, it->second.bytes);
  call->dead[U(p)] = it->second;
  call->live.erase(it);
  return call->sticky;
}
CUresult cuMemHostGetDevicePointer(CUdeviceptr* d, void* p, unsigned) {
  FAKE_CALL(kNeedsContext);
  const auto it = call->live.find(U(p));
  if (it == call->live.end() || it->second.device >= 0) return CUDA_ERROR_INVALID_VALUE;
  *d = U(p);
  return CUDA_SUCCESS;
}

// The blocking copies use the null stream, which streams of ours do not wait for.
CUresult cuMemcpyHtoD(CUdeviceptr d, const void* s, size_t n) {
  FAKE_CALL(kUnsafe);
  const int device = fake_cuda::CurrentDevice();
  // The host memory may go at once; that the device has the bytes is another matter.
  std::string bytes(static_cast<const char*>(s), n);
  return fake_cuda::Enqueue(nullptr, [d, n, device, bytes = std::move(bytes)] {
    if (CheckRange("cuMemcpyHtoD", d, n, device)) std::memcpy(P(d), bytes.data(), n);
  });
}
CUresult cuMemcpyDtoH(void* d, CUdeviceptr s, size_t n) {
  FAKE_CALL(kUnsafe);
  const CUresult result = Copy("cuMemcpyDtoH", nullptr, U(d), false, s, true, n);
  if (result != CUDA_SUCCESS) return result;
  fake_cuda::RunUntil(StreamOf(nullptr)->last);
  return call->sticky;
}
CUresult cuMemcpyHtoDAsync(CUdeviceptr d, const void* s, size_t n, CUstream stream) {
  FAKE_CALL(kNeedsContext);
  return Copy("cuMemcpyHtoDAsync", stream, d, true, U(s), false, n);
}
CUresult cuMemcpyDtoHAsync(void* d, CUdeviceptr s, size_t n, CUstream stream) {
  FAKE_CALL(kNeedsContext);
  return Copy("cuMemcpyDtoHAsync", stream, U(d), false, s, true, n);
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream stream) {
  FAKE_CALL(kNeedsContext);
  return Copy("cuMemcpyDtoDAsync", stream, d, true, s, true, n);
}
CUresult cuMemsetD8Async(CUdeviceptr d, unsigned char v, size_t n, CUstream stream) {
  FAKE_CALL(kNeedsContext);
  const int device = StreamOf(stream)->device;
  return fake_cuda::Enqueue(stream, [=] {
    if (CheckRange("cuMemsetD8Async", d, n, device)) std::memset(P(d), v, n);
  });
}
CUresult cuMemsetD8(CUdeviceptr d, unsigned char v, size_t n) {
  FAKE_CALL(kUnsafe);
  const int device = fake_cuda::CurrentDevice();
  return fake_cuda::Enqueue(nullptr, [=] {
    if (CheckRange("cuMemsetD8", d, n, device)) std::memset(P(d), v, n);
  });
}

CUresult cuMemAddressReserve(CUdeviceptr* p, size_t bytes, size_t alignment, CUdeviceptr,
                             unsigned long long) {
  FAKE_CALL(kAny);
  if (!call->vmm) return CUDA_ERROR_NOT_SUPPORTED;
  if (bytes == 0 || bytes % kGranule != 0) return CUDA_ERROR_INVALID_VALUE;
  void* base = Reserve(bytes, std::max(alignment, kGranule));
  if (base == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  *p = U(base);
  reservations[*p] = {bytes, next_reservation++};
  return CUDA_SUCCESS;
}
CUresult cuMemAddressFree(CUdeviceptr p, size_t bytes) {
  FAKE_CALL(kAny);
  if (!call->vmm) return CUDA_ERROR_NOT_SUPPORTED;
  const auto it = reservations.find(p);
  if (it == reservations.end() || it->second.first != bytes) return CUDA_ERROR_INVALID_VALUE;
  const auto mapped = mappings.lower_bound(p);
  if (mapped != mappings.end() && mapped->first < p + bytes) return CUDA_ERROR_INVALID_VALUE;
  reservations.erase(it);  // the pages stay forbidden
  return CUDA_SUCCESS;
}
CUresult cuMemGetAllocationGranularity(size_t* n, const CUmemAllocationProp*,
                                       CUmemAllocationGranularity_flags) {
  FAKE_CALL(kAny);
  if (!call->vmm) return CUDA_ERROR_NOT_SUPPORTED;
  *n = kGranule;
  return CUDA_SUCCESS;
}
CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, size_t bytes,
                     const CUmemAllocationProp* prop, unsigned long long) {
  FAKE_CALL(kUnsafe);
  if (!call->vmm) return CUDA_ERROR_NOT_SUPPORTED;
  const int device = prop->location.id;
  if (bytes == 0 || bytes % kGranule != 0 || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
      prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE || device < 0 ||
      device >= call->num_devices) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (!Take(call.operator->(), device, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  const int file = memfd_create("fake_cuda", MFD_CLOEXEC);
  void* seen = MAP_FAILED;
  if (file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0) {
    seen = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  if (seen == MAP_FAILED) {
    if (file >= 0) close(file);
    call->used[device] -= static_cast<int64_t>(bytes);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  std::memset(seen, 0xff, bytes);  // what it holds is undefined
  munmap(seen, bytes);
  *handle = next_handle++;
  handles[*handle] = {file, bytes, device, 1};
  return CUDA_SUCCESS;
}
CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  FAKE_CALL(kUnsafe);
  if (!handles.contains(handle)) return CUDA_ERROR_INVALID_VALUE;
  Drop(handle);
  return CUDA_SUCCESS;
}
CUresult cuMemMap(CUdeviceptr p, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                  unsigned long long) {
  FAKE_CALL(kUnsafe);
  const auto it = handles.find(handle);
  if (it == handles.end() || offset != 0 || bytes != it->second.bytes || p % kGranule != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (ReservationOf(p, bytes) == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const auto next = mappings.lower_bound(p);
  if (next != mappings.end() && next->first < p + bytes) return CUDA_ERROR_INVALID_VALUE;
  if (next != mappings.begin()) {
    const auto& [first, m] = *std::prev(next);
    if (first + m.bytes > p) return CUDA_ERROR_INVALID_VALUE;
  }
  if (mmap(P(p), bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, it->second.file, 0) == MAP_FAILED) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  mappings[p] = {bytes, handle};
  ++it->second.uses;
  return CUDA_SUCCESS;
}
CUresult cuMemUnmap(CUdeviceptr p, size_t bytes) {
  FAKE_CALL(kUnsafe);
  const std::vector<uintptr_t> parts = MappingsOf(p, bytes);
  if (parts.empty()) return CUDA_ERROR_INVALID_VALUE;
  for (const uintptr_t at : parts) {
    const Mapping m = mappings[at];
    Forbid(P(at), m.bytes);
    mappings.erase(at);
    const auto live = call->live.find(at);
    if (live != call->live.end()) {
      call->dead[at] = live->second;
      call->live.erase(live);
    }
    Drop(m.handle);
  }
  return CUDA_SUCCESS;
}
CUresult cuMemSetAccess(CUdeviceptr p, size_t bytes, const CUmemAccessDesc* access, size_t n) {
  FAKE_CALL(kUnsafe);
  const std::vector<uintptr_t> parts = MappingsOf(p, bytes);
  if (parts.empty() || n != 1 || access->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (const uintptr_t at : parts) {
    const Mapping& m = mappings[at];
    if (mprotect(P(at), m.bytes, PROT_READ | PROT_WRITE) != 0) return CUDA_ERROR_OUT_OF_MEMORY;
    call->live[at] = {m.bytes, access->location.id, ReservationOf(at, m.bytes)->second.second};
    call->dead.erase(at);
  }
  return CUDA_SUCCESS;
}

}  // extern "C"
