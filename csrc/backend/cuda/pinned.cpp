// SPDX-License-Identifier: Apache-2.0
// Pinned memory of the host. Pinning costs a system call per page and makes the device wait when it
// is undone, so blocks are kept by power of two, up to a limit.
#include <bit>
#include <map>
#include <mutex>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/memory.h"

namespace ostria::cuda {
namespace {

constexpr size_t kLeast = 4096, kMostWaiting = size_t{512} << 20;

struct Waiting {
  std::mutex mutex;
  std::map<size_t, std::vector<void*>> blocks;  // by size
  size_t bytes = 0;
};
Waiting& TheWaiting() {
  static auto* waiting = new Waiting;  // tensors may outlive static teardown
  return *waiting;
}

// Beyond a mebibyte a power of two could waste as much again.
size_t ClassOf(size_t bytes) {
  constexpr size_t kMiB = size_t{1} << 20;
  if (bytes > kMiB) return (bytes + kMiB - 1) / kMiB * kMiB;
  return std::bit_ceil(std::max(bytes, kLeast));
}

}  // namespace

void* AllocatePinnedBlock(size_t bytes) {
  Waiting& w = TheWaiting();
  const size_t size = ClassOf(bytes);
  std::lock_guard lock(w.mutex);
  auto& same = w.blocks[size];
  if (!same.empty()) {
    void* p = same.back();
    same.pop_back();
    w.bytes -= size;
    return p;
  }
  CudaDevice::Any().MakeCurrent();
  const OutsideCapture outside;
  void* p = nullptr;
  CUresult result = Driver().cuMemHostAlloc(&p, size, CU_MEMHOSTALLOC_PORTABLE);
  if (result == CUDA_ERROR_OUT_OF_MEMORY && w.bytes > 0) {
    for (auto& [n, blocks] : w.blocks) {
      for (void* block : blocks) CheckDriver(Driver().cuMemFreeHost(block), "unpinning memory");
      blocks.clear();
    }
    w.bytes = 0;
    result = Driver().cuMemHostAlloc(&p, size, CU_MEMHOSTALLOC_PORTABLE);
  }
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    Fail(ErrorCode::kOutOfMemory, "cuda: the system has no ", BytesText(size),
         " of memory to pin; prefetch fewer batches, or raise `ulimit -l`");
  }
  CheckDriver(result, StrCat("pinning ", BytesText(size)));
  return p;
}

void FreePinnedBlock(void* data, size_t bytes) {
  if (data == nullptr) return;
  Waiting& w = TheWaiting();
  const size_t size = ClassOf(bytes);
  std::lock_guard lock(w.mutex);
  if (w.bytes + size <= kMostWaiting) {
    w.blocks[size].push_back(data);
    w.bytes += size;
    return;
  }
  if (!CudaDevice::Usable()) return;
  CudaDevice::Any().MakeCurrent();
  const OutsideCapture outside;
  Driver().cuMemFreeHost(data);  // the device may have failed: destructors come here
}

}  // namespace ostria::cuda
