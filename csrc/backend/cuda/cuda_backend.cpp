// SPDX-License-Identifier: Apache-2.0
// The GPU as a backend: its implementations in one list, and the C entry through which libostria.so
// reaches it.
#include <cstring>
#include <vector>

#include "backend/backend.h"
#include "backend/build_id.h"
#include "backend/cuda/libraries/device_json.h"
#include "backend/cuda/libraries/library.h"
#include "backend/cuda/nccl/connect.h"
#include "backend/cuda/ops/kernels.h"
#include "backend/cuda/properties.h"
#include "backend/cuda/stream.h"

namespace ostria {

Backend* CudaBackend();

namespace {

// In order of preference where two lists know one op. One a line: branches merge.
// clang-format off
constexpr std::span<const KernelDef> (*kLists[])() = {
    cuda::FillKernels,
    cuda::OptimKernels,
    cuda::OptimNormKernels,
    cuda::ListKernels,
    cuda::GatherKernels,
    cuda::RowKernels,
    cuda::ShapeKernels,
    cuda::PadChannelsKernels,
    cuda::DataKernels,
    cuda::AlongAxisKernels,
    cuda::ScanKernels,
    cuda::RandomKernels,
    cuda::SortKernels,
    cuda::PoolKernels,
    cuda::ResampleKernels,
    cuda::LoopKernels,
    cuda::ReduceKernels,
    cuda::SkinnyKernels,
    cuda::LinalgKernels,
    cuda::DepthwiseKernels,
    cuda::ConvKernels,
    cuda::ConvNormKernels,
    cuda::DirectConvKernels,
    cuda::CudnnAttentionKernels,
    cuda::AttentionKernels,
    cuda::LossKernels,
    cuda::ChannelNormKernels,
    cuda::CtcKernels,
    cuda::RecurrentKernels,
    cuda::ControlKernels,
    cuda::RecurrentStepKernels,
    cuda::CollectiveKernels,
};
// clang-format on

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
  DeviceProps Described(const std::string& description) const override {
    DeviceProps props = cuda::PropsOfJson(description);
    cuda::ReadOptions(&props);
    // Without either, cuDNN offers less.
    static const std::string missing = cuda::OpenDriverOrStub();
    static_cast<void>(missing);
    return props;
  }
  std::span<const KernelDef> Kernels() const override { return kernels_; }
  int NumDevices() const override { return cuda::CudaDevice::Count(); }
  std::unique_ptr<Stream> MakeStream(int ordinal) override {
    return std::make_unique<cuda::CudaStream>(cuda::CudaDevice::Get(ordinal));
  }

  void* Reserve(int ordinal, size_t bytes) override {
    return cuda::CudaDevice::Get(ordinal).memory().Reserve(bytes);
  }
  void Commit(int ordinal, void* base, size_t bytes) override {
    cuda::CudaDevice::Get(ordinal).memory().Commit(base, bytes);
  }
  void Release(int ordinal, void* base, size_t) override {
    cuda::CudaDevice::Get(ordinal).memory().Release(base);
  }
  void CopyToDevice(int ordinal, void* dst, const void* src, size_t bytes) override {
    cuda::CudaDevice::Get(ordinal).CopyToDevice(dst, src, bytes);
  }
  void CopyToHost(int ordinal, void* dst, const void* src, size_t bytes) override {
    cuda::CudaDevice::Get(ordinal).CopyToHost(dst, src, bytes);
  }
  void* Allocate(int ordinal, size_t bytes) override {
    return cuda::CudaDevice::Get(ordinal).memory().Allocate(bytes);
  }
  void Free(int ordinal, void* data, size_t) override {
    cuda::CudaDevice::Get(ordinal).memory().Free(data);
  }
  void* AllocatePinned(size_t bytes) override { return cuda::AllocatePinnedBlock(bytes); }
  void FreePinned(void* data, size_t bytes) override { cuda::FreePinnedBlock(data, bytes); }
  MemoryStats GetMemoryStats(int ordinal) override {
    return cuda::CudaDevice::Get(ordinal).memory().Stats();
  }
  size_t TrimMemory(int ordinal) override { return cuda::CudaDevice::Get(ordinal).memory().Trim(); }
  std::vector<std::unique_ptr<Communicator>> Connect(
      std::span<const int> ordinals, std::vector<std::unique_ptr<Communicator>> hosts,
      std::chrono::milliseconds timeout) override {
    return cuda::ConnectByNccl(ordinals, std::move(hosts), timeout);
  }
  std::vector<Diagnosis> Describe() override { return cuda::DescribeInstallation(); }

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
