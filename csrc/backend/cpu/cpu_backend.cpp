// SPDX-License-Identifier: Apache-2.0
// The CPU as a backend: its implementations in one list, host memory, plain copies.
#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "base/huge_pages.h"
#include "base/parallel.h"

namespace ostria {

Backend* CpuBackend();

namespace {

class CpuBackendImpl final : public Backend {
 public:
  CpuBackendImpl() {
    for (auto list :
         {cpu::LoopKernels(),      cpu::ReduceKernels(),      cpu::ShapeKernels(),
          cpu::DataKernels(),      cpu::AlongAxisKernels(),   cpu::ScanKernels(),
          cpu::SortKernels(),      cpu::LinalgKernels(),      cpu::ConvKernels(),
          cpu::PoolingKernels(),   cpu::NnKernels(),          cpu::NormKernels(),
          cpu::ResampleKernels(),  cpu::RandomKernels(),      cpu::OptimKernels(),
          cpu::AttentionKernels(), cpu::RecurrentOpKernels(), cpu::CtcKernels(),
          cpu::RowKernels(),       cpu::GatherKernels(),      cpu::CollectiveKernels()}) {
      kernels_.insert(kernels_.end(), list.begin(), list.end());
    }
  }
  DeviceKind kind() const override { return DeviceKind::kCpu; }
  DeviceProps Props(int) const override {
    return {.kind = DeviceKind::kCpu, .name = "cpu", .threads = NumThreads()};
  }
  std::span<const KernelDef> Kernels() const override { return kernels_; }

  void* Reserve(int, size_t bytes) override {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
      Fail(ErrorCode::kOutOfMemory, "cpu: the system refused ", bytes,
           " bytes of address space; lower the batch size, or raise `ulimit -v`");
    }
    return p;
  }
  void Commit(int, void* base, size_t bytes) override { AskForHugePages(base, bytes); }
  void Release(int, void* base, size_t bytes) override { ::munmap(base, bytes); }
  void CopyToDevice(int, void* dst, const void* src, size_t bytes) override {
    if (bytes > 0) std::memcpy(dst, src, bytes);
  }
  void CopyToHost(int, void* dst, const void* src, size_t bytes) override {
    if (bytes > 0) std::memcpy(dst, src, bytes);
  }
  std::vector<Diagnosis> Describe() override {
    const auto instructions = [] {
      return StrCat(Name(CurrentIsa()), HasBf16Products() ? " with products of bfloat16" : "",
                    "; the best of this CPU is ", Name(BestIsa()));
    };
    Diagnosis isa{.title = "instructions"};
    try {
      isa.text = instructions();
    } catch (const Error& e) {  // OSTRIA_ISA names none
      isa.text = e.what();
      isa.state = Diagnosis::State::kBroken;
    }
    return {isa,
            {.title = "threads", .text = StrCat(NumThreads())},
            {.title = "oneDNN", .text = cpu::onednn::Version()}};
  }

 private:
  std::vector<KernelDef> kernels_;
};

}  // namespace

Backend* CpuBackend() {
  static auto* backend = new CpuBackendImpl;  // variables may outlive static teardown
  return backend;
}

}  // namespace ostria
