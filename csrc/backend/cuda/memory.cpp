// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/memory.h"

#include <algorithm>
#include <cstdio>

#include "backend/cuda/device.h"
#include "base/check.h"

namespace ostria::cuda {
namespace {

constexpr size_t kKiB = 1024, kMiB = 1024 * kKiB;
constexpr size_t kAlign = 256;
// Small blocks have segments of their own, so that they do not keep large ones from merging.
constexpr size_t kSmall = 512 * kKiB, kSmallSegment = 4 * kMiB;
constexpr size_t kMedium = 16 * kMiB, kMediumSegment = 32 * kMiB;
constexpr size_t kLargeStep = 2 * kMiB;  // the driver's own pages
constexpr size_t kLargeRest = 1 * kMiB;  // a smaller rest of a large block stays with it

size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

CUdeviceptr Ptr(const void* p) { return reinterpret_cast<CUdeviceptr>(p); }

CUmemAllocationProp PropsOf(int ordinal) {
  CUmemAllocationProp prop = {};
  prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, {ordinal}};
  return prop;
}

}  // namespace

std::string BytesText(size_t bytes) {
  if (bytes < kKiB) return StrCat(bytes, " bytes");
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  int unit = 0;
  for (; value >= 1024 && unit < 3; ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

OutsideCapture::OutsideCapture() { Driver().cuThreadExchangeStreamCaptureMode(&mode_); }
OutsideCapture::~OutsideCapture() { Driver().cuThreadExchangeStreamCaptureMode(&mode_); }

MemoryPool::MemoryPool(CudaDevice* device) : device_(device) {
  int supported = 0;
  CheckDriver(
      Driver().cuDeviceGetAttribute(
          &supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, device->handle()),
      "reading a property");
  if (supported == 0) return;
  const CUmemAllocationProp prop = PropsOf(device->handle());
  CheckDriver(Driver().cuMemGetAllocationGranularity(&granule_, &prop,
                                                     CU_MEM_ALLOC_GRANULARITY_RECOMMENDED),
              "reading the granularity of memory");
}

void* MemoryPool::Allocate(size_t bytes) {
  const size_t rounded = RoundUp(std::max<size_t>(bytes, 1), kAlign);
  const bool small = rounded <= kSmall;
  std::lock_guard lock(mutex_);
  device_->MakeCurrent();
  Block* block = FindWaiting(rounded, small);
  if (block == nullptr) block = NewSegment(rounded, small);
  if (block == nullptr && ReleaseWaiting() > 0) block = NewSegment(rounded, small);
  if (block == nullptr) OutOfMemory(bytes, "a tensor");
  waiting_[block->small ? 1 : 0].erase(block);
  if (block->bytes - rounded >= (small ? kAlign : kLargeRest)) {
    auto* rest = new Block{
        block->data + rounded, block->bytes - rounded, 0, false, block->small, block, block->after};
    if (rest->after != nullptr) rest->after->before = rest;
    block->after = rest;
    block->bytes = rounded;
    waiting_[rest->small ? 1 : 0].insert(rest);
  }
  block->live = true;
  block->asked = bytes;
  live_.emplace(block->data, block);
  tensors_ += block->bytes;
  Use(block->bytes);
  return block->data;
}

void MemoryPool::Free(void* data) {
  if (data == nullptr) return;
  std::lock_guard lock(mutex_);
  const auto it = live_.find(static_cast<std::byte*>(data));
  OSTRIA_CHECK(it != live_.end(), "freeing memory that is not of device ", device_->ordinal());
  Block* block = it->second;
  live_.erase(it);
  tensors_ -= block->bytes;
  stats_.in_use -= block->bytes;
  block->live = false;
  if (block->after != nullptr && !block->after->live) Merge(block, block->after);
  if (block->before != nullptr && !block->before->live) {
    Block* before = block->before;
    Merge(before, block);
    block = before;
  }
  waiting_[block->small ? 1 : 0].insert(block);
}

MemoryPool::Block* MemoryPool::FindWaiting(size_t bytes, bool small) {
  Block least;
  least.bytes = bytes;
  auto& waiting = waiting_[small ? 1 : 0];
  const auto it = waiting.lower_bound(&least);
  return it == waiting.end() ? nullptr : *it;
}

MemoryPool::Block* MemoryPool::NewSegment(size_t bytes, bool small) {
  const size_t wanted = small             ? kSmallSegment
                        : bytes < kMedium ? kMediumSegment
                                          : RoundUp(bytes, kLargeStep);
  const OutsideCapture outside;
  // Where the usual segment does not fit any more, the block alone may.
  for (const size_t size : {wanted, RoundUp(bytes, kLargeStep), bytes}) {
    if (size > wanted) continue;
    CUdeviceptr p = 0;
    const CUresult result = Driver().cuMemAlloc(&p, size);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) continue;
    CheckDriver(result, StrCat("allocating ", BytesText(size)));
    auto* block =
        new Block{reinterpret_cast<std::byte*>(p), size, 0, false, small, nullptr, nullptr};
    stats_.reserved += size;
    return block;
  }
  return nullptr;
}

void MemoryPool::Merge(Block* into, Block* gone) {
  for (Block* b : {into, gone}) waiting_[b->small ? 1 : 0].erase(b);
  into->bytes += gone->bytes;
  into->after = gone->after;
  if (into->after != nullptr) into->after->before = into;
  delete gone;
}

size_t MemoryPool::ReleaseWaiting() {
  std::vector<Block*> whole;
  for (auto& waiting : waiting_) {
    for (Block* b : waiting) {
      if (b->before == nullptr && b->after == nullptr) whole.push_back(b);
    }
  }
  if (whole.empty()) return 0;
  CheckDriver(device_->SettleOrFail(), "waiting for the device");
  const OutsideCapture outside;
  size_t released = 0;
  for (Block* b : whole) {
    waiting_[b->small ? 1 : 0].erase(b);
    CheckDriver(Driver().cuMemFree(Ptr(b->data)), "freeing memory");
    released += b->bytes;
    delete b;
  }
  stats_.reserved -= released;
  return released;
}

size_t MemoryPool::Trim() {
  std::lock_guard lock(mutex_);
  device_->MakeCurrent();
  stats_.peak = stats_.in_use;
  return ReleaseWaiting();
}

void MemoryPool::Use(size_t bytes) {
  stats_.in_use += bytes;
  stats_.peak = std::max(stats_.peak, stats_.in_use);
}

void* MemoryPool::Reserve(size_t bytes) {
  std::lock_guard lock(mutex_);
  device_->MakeCurrent();
  const OutsideCapture outside;
  size_t total = 0;
  CheckDriver(Driver().cuDeviceTotalMem(&total, device_->handle()), "reading the size of memory");
  // More than the device has can never be committed.
  const size_t addresses =
      RoundUp(std::clamp<size_t>(bytes, 1, total), granule_ == 0 ? kLargeStep : granule_);
  CUdeviceptr p = 0;
  // Without virtual memory management: managed memory, whose pages come when they are first used.
  const CUresult result = granule_ == 0
                              ? Driver().cuMemAllocManaged(&p, addresses, CU_MEM_ATTACH_GLOBAL)
                              : Driver().cuMemAddressReserve(&p, addresses, granule_, 0, 0);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    Fail(ErrorCode::kOutOfMemory, "cuda:", device_->ordinal(), ": the driver refused ",
         BytesText(addresses), " of address space; raise `ulimit -v`");
  }
  CheckDriver(result, StrCat("reserving ", BytesText(addresses), " of address space"));
  auto* base = reinterpret_cast<std::byte*>(p);
  regions_[base].addresses = addresses;
  return base;
}

CUresult MemoryPool::Grow(std::byte* base, Region* region, size_t bytes) {
  std::byte* const end = base + region->committed;
  if (granule_ == 0) {
    size_t free = 0, total = 0;
    CheckDriver(Driver().cuMemGetInfo(&free, &total), "reading the free memory");
    return bytes > free ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;  // or it would be swapped
  }
  const CUmemAllocationProp prop = PropsOf(device_->handle());
  CUmemGenericAllocationHandle handle = 0;
  CUresult result = Driver().cuMemCreate(&handle, bytes, &prop, 0);
  if (result != CUDA_SUCCESS) return result;
  result = Driver().cuMemMap(Ptr(end), bytes, 0, handle, 0);
  if (result == CUDA_SUCCESS) {
    const CUmemAccessDesc access = {prop.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    result = Driver().cuMemSetAccess(Ptr(end), bytes, &access, 1);
    if (result != CUDA_SUCCESS) Driver().cuMemUnmap(Ptr(end), bytes);
  }
  if (result != CUDA_SUCCESS) {
    Driver().cuMemRelease(handle);
    return result;
  }
  region->parts.emplace_back(bytes, handle);
  return CUDA_SUCCESS;
}

void MemoryPool::Commit(void* base, size_t bytes) {
  std::lock_guard lock(mutex_);
  const auto it = regions_.find(static_cast<std::byte*>(base));
  OSTRIA_CHECK(it != regions_.end(), "committing memory that was not reserved");
  Region& region = it->second;
  if (bytes <= region.committed) return;
  device_->MakeCurrent();
  const OutsideCapture outside;
  if (bytes > region.addresses) OutOfMemory(bytes - region.committed, "a region");
  const size_t more = RoundUp(bytes, granule_ == 0 ? kLargeStep : granule_) - region.committed;
  CUresult result = Grow(it->first, &region, more);
  if (result == CUDA_ERROR_OUT_OF_MEMORY && ReleaseWaiting() > 0) {
    result = Grow(it->first, &region, more);
  }
  if (result == CUDA_ERROR_OUT_OF_MEMORY) OutOfMemory(more, "a region");
  CheckDriver(result, StrCat("allocating ", BytesText(more)));
  device_->Clear(it->first + region.committed, more);
  region.committed += more;
  stats_.reserved += more;
  Use(more);
}

void MemoryPool::Release(void* base) {
  if (base == nullptr || !device_->Usable()) return;
  std::lock_guard lock(mutex_);
  const auto it = regions_.find(static_cast<std::byte*>(base));
  OSTRIA_CHECK(it != regions_.end(), "releasing memory that was not reserved");
  // Destructors come here, with a device that may have failed: nothing is thrown.
  const Region& region = it->second;
  if (region.committed > 0) device_->SettleOrFail();
  const OutsideCapture outside;
  if (granule_ == 0) {
    Driver().cuMemFree(Ptr(base));
  } else {
    std::byte* at = it->first;
    for (const auto& [bytes, handle] : region.parts) {
      Driver().cuMemUnmap(Ptr(at), bytes);
      Driver().cuMemRelease(handle);
      at += bytes;
    }
    Driver().cuMemAddressFree(Ptr(base), region.addresses);
  }
  stats_.reserved -= region.committed;
  stats_.in_use -= region.committed;
  regions_.erase(it);
}

MemoryStats MemoryPool::Stats() const {
  std::lock_guard lock(mutex_);
  device_->MakeCurrent();
  MemoryStats stats = stats_;
  CheckDriver(Driver().cuMemGetInfo(&stats.free, &stats.total), "reading the free memory");
  return stats;
}

void MemoryPool::OutOfMemory(size_t bytes, const char* what) {
  size_t free = 0, total = 0;
  Driver().cuMemGetInfo(&free, &total);
  std::vector<size_t> largest;
  for (const auto& [data, block] : live_) largest.push_back(block->asked);
  std::sort(largest.rbegin(), largest.rend());
  if (largest.size() > 5) largest.resize(5);
  const size_t regions = stats_.in_use - tensors_;
  Fail(ErrorCode::kOutOfMemory, "cuda:", device_->ordinal(), ": out of memory: ", what, " needs ",
       BytesText(bytes), "; in use are ", BytesText(tensors_), " of tensors and ",
       BytesText(regions), " of plans and variables, ", BytesText(stats_.reserved - stats_.in_use),
       " wait to be used again, and ", BytesText(free), " of ", BytesText(total),
       " are free on the device",
       total > free + stats_.reserved
           ? StrCat(" (", BytesText(total - free - stats_.reserved), " belong to others)")
           : std::string(),
       largest.empty() ? std::string()
                       : StrCat("; the largest tensors alive take ",
                                Join(largest, ", ", [](size_t n) { return BytesText(n); })),
       "; use a smaller batch, or drop tensors that are not needed");
}

}  // namespace ostria::cuda
