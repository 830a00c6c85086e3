// SPDX-License-Identifier: Apache-2.0
// The GPU as a backend: its implementations in one list, and the C entry through which libostria.so
// reaches it.
#include <cstring>
#include <vector>

#include "backend/backend.h"
#include "backend/build_id.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/stream.h"

namespace ostria {

Backend* CudaBackend();

namespace {

// In order of preference where two lists know one op.
constexpr std::span<const KernelDef> (*kLists[])() = {
    cuda::FillKernels,
    cuda::OptimKernels,
    cuda::ShapeKernels,
    cuda::RandomKernels,
    cuda::SortKernels,
};

CUdeviceptr Ptr(const void* p) { return reinterpret_cast<CUdeviceptr>(p); }

class CudaBackendImpl final : public Backend {
 public:
  CudaBackendImpl() {
    for (const auto list : kLists) {
      const std::span<const KernelDef> kernels = list();
      kernels_.insert(kernels_.end(), kernels.begin(), kernels.end());
    }
  }
  DeviceKind kind() const override { return DeviceKind::kCuda; }
  DeviceProps Props(int ordinal) const override { return cuda::CudaDevice::Get(ordinal).props(); }
  std::span<const KernelDef> Kernels() const override { return kernels_; }
  int NumDevices() const override { return cuda::CudaDevice::Count(); }
  std::unique_ptr<Stream> MakeStream(int ordinal) override {
    return std::make_unique<cuda::CudaStream>(cuda::CudaDevice::Get(ordinal));
  }

  void* Reserve(int ordinal, size_t bytes) override { return Allocate(ordinal, bytes); }
  void Release(int ordinal, void* base, size_t bytes) override { Free(ordinal, base, bytes); }
  void CopyToDevice(int ordinal, void* dst, const void* src, size_t bytes) override {
    cuda::CudaDevice::Get(ordinal).MakeCurrent();
    cuda::CheckDriver(cuda::Driver().cuMemcpyHtoD(Ptr(dst), src, bytes), "copying to the device");
  }
  void CopyToHost(int ordinal, void* dst, const void* src, size_t bytes) override {
    cuda::CudaDevice::Get(ordinal).MakeCurrent();
    cuda::CheckDriver(cuda::Driver().cuMemcpyDtoH(dst, Ptr(src), bytes), "copying to the host");
  }
  void* Allocate(int ordinal, size_t bytes) override {
    cuda::CudaDevice::Get(ordinal).MakeCurrent();
    CUdeviceptr p = 0;
    cuda::CheckDriver(cuda::Driver().cuMemAlloc(&p, bytes), StrCat("allocating ", bytes, " bytes"));
    return reinterpret_cast<void*>(p);
  }
  void Free(int ordinal, void* data, size_t) override {
    cuda::CudaDevice::Get(ordinal).MakeCurrent();
    cuda::CheckDriver(cuda::Driver().cuMemFree(Ptr(data)), "freeing memory");
  }
  void* AllocatePinned(size_t bytes) override {
    void* p = nullptr;
    cuda::CheckDriver(cuda::Driver().cuMemHostAlloc(&p, bytes, 0), "allocating pinned memory");
    return p;
  }
  void FreePinned(void* data, size_t) override { cuda::Driver().cuMemFreeHost(data); }

 private:
  std::vector<KernelDef> kernels_;
};

}  // namespace

Backend* CudaBackend() {
  static auto* backend = new CudaBackendImpl;  // variables may outlive static teardown
  return backend;
}

}  // namespace ostria

/// The backend, or nullptr and this library's build id where it is not `build_id`.
extern "C" OSTRIA_API ostria::Backend* ostria_cuda_entry(const char* build_id,
                                                         const char** own_build_id) {
  *own_build_id = ostria::kBuildId;
  if (std::strcmp(build_id, ostria::kBuildId) != 0) return nullptr;
  return ostria::CudaBackend();
}
