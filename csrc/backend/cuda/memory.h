// SPDX-License-Identifier: Apache-2.0
// Memory of one device, and pinned memory of the host. Tensors get blocks of segments that are
// kept: a freed block is given out again at once, since all that uses it is in the order of the
// main stream. Regions (variables, activations) are address space that pages are mapped into as
// they are needed, so they grow in place. Nothing is taken before it is asked for. Any thread may
// call.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/libraries/driver.h"

namespace ostria::cuda {

class CudaDevice;

/// While it lives, this thread may allocate and synchronise although it captures a stream.
class OutsideCapture {
 public:
  OutsideCapture();
  ~OutsideCapture();
  OutsideCapture(const OutsideCapture&) = delete;
  OutsideCapture& operator=(const OutsideCapture&) = delete;

 private:
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

class MemoryPool {
 public:
  explicit MemoryPool(CudaDevice* device);

  /// 256-byte aligned, contents undefined. Throws Error(kOutOfMemory) with who holds what.
  void* Allocate(size_t bytes);
  /// What Allocate gave; later work of the main stream may use it at once.
  void Free(void* data);

  /// See Backend::Reserve. What is committed is zero.
  void* Reserve(size_t bytes);
  void Commit(void* base, size_t bytes);
  /// Waits for the work that uses it.
  void Release(void* base);

  MemoryStats Stats() const;
  /// Gives segments without a live block back to the driver, and begins a new peak; how many bytes.
  size_t Trim();

 private:
  struct Block {
    std::byte* data = nullptr;
    size_t bytes = 0, asked = 0;
    bool live = false, small = false;
    Block *before = nullptr, *after = nullptr;  // neighbours in the segment
  };
  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return a->bytes != b->bytes ? a->bytes < b->bytes : a->data < b->data;
    }
  };
  struct Region {
    size_t addresses = 0, committed = 0;
    std::vector<std::pair<size_t, CUmemGenericAllocationHandle>> parts;  // empty: managed memory
  };

  Block* FindWaiting(size_t bytes, bool small);
  Block* NewSegment(size_t bytes, bool small);
  size_t ReleaseWaiting();
  void Merge(Block* into, Block* gone);
  /// Maps `bytes` more behind what is committed.
  CUresult Grow(std::byte* base, Region* region, size_t bytes);
  [[noreturn]] void OutOfMemory(size_t bytes, const char* what);
  void Use(size_t bytes);

  CudaDevice* const device_;
  size_t granule_ = 0;  // of virtual memory; 0: not supported
  mutable std::mutex mutex_;
  std::set<Block*, BySize> waiting_[2];  // large, small
  std::map<std::byte*, Block*> live_;
  std::map<std::byte*, Region> regions_;
  MemoryStats stats_;
  size_t tensors_ = 0;  // bytes of live blocks
};

/// Pinned memory that every device can use, kept for reuse. Throws Error(kOutOfMemory).
void* AllocatePinnedBlock(size_t bytes);
/// What AllocatePinnedBlock gave for as many bytes; no copy of it may be under way.
void FreePinnedBlock(void* data, size_t bytes);

/// "1.5 GiB", "17 bytes".
std::string BytesText(size_t bytes);

}  // namespace ostria::cuda
