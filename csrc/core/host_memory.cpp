// SPDX-License-Identifier: Apache-2.0
#include "core/host_memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/huge_pages.h"

namespace ostria {
namespace {

// A sanitizer sees a step outside a block only when it has exactly the size that was asked for, and
// a use after its end only when it is not used again.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kReuse = false;
#else
constexpr bool kReuse = true;
#endif

constexpr size_t kAlign = 64;
constexpr size_t kSmall = size_t{64} << 10;
constexpr size_t kAlwaysKeep = size_t{256} << 20;
// From here on blocks are mapped by themselves and begin at a huge page: a fault then brings 2 MiB.
constexpr size_t kMapped = size_t{4} << 20;

void* Map(size_t bytes) {
  const size_t size = bytes + kHugePage;
  void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(base);
  const auto address = reinterpret_cast<uintptr_t>(base);
  const size_t before = (kHugePage - address % kHugePage) % kHugePage;
  if (before > 0) ::munmap(begin, before);
  if (before < kHugePage) ::munmap(begin + before + bytes, kHugePage - before);
  AskForHugePages(begin + before, bytes);
  return begin + before;
}

void* FromSystem(size_t bytes) {
  if (kReuse && bytes >= kMapped) return Map(bytes);
  void* p = nullptr;
  return posix_memalign(&p, kAlign, bytes) == 0 ? p : nullptr;
}

void ToSystem(void* p, size_t bytes) {
  if (kReuse && bytes >= kMapped)
    ::munmap(p, bytes);
  else
    std::free(p);
}

[[noreturn]] void FailRefused(size_t bytes) {
  Fail(ErrorCode::kOutOfMemory, "out of memory: ", bytes, " bytes on cpu were refused");
}

// Per thread and power of two: an eager result costs no malloc.
struct SmallBlocks {
  static constexpr int kClasses = 11;  // 64 B … 64 KiB
  static constexpr size_t kKeep = 64;  // blocks of one class
  std::vector<void*> free[kClasses];

  ~SmallBlocks() {
    alive = false;
    for (auto& blocks : free)
      for (void* p : blocks) std::free(p);
  }
  static int ClassOf(size_t size) { return std::countr_zero(size) - 6; }
  static thread_local bool alive;  // false once this thread's lists were destroyed
  static thread_local SmallBlocks lists;
};
thread_local bool SmallBlocks::alive = true;
thread_local SmallBlocks SmallBlocks::lists;

// Eight sizes per power of two, shared by all threads. A freed block changes sides, so that only a
// block from the system can push the sum of both over its bound; then the sizes that were not asked
// for longest go first.
class LargeBlocks {
 public:
  static LargeBlocks& Get() {
    static auto* blocks = new LargeBlocks;  // tensors may outlive static teardown
    return *blocks;
  }

  void* Take(size_t size) {
    std::vector<Block> excess;
    void* p = nullptr;
    {
      std::lock_guard lock(mutex_);
      stats_.in_use += size;
      stats_.peak = std::max(stats_.peak, stats_.in_use);
      SizeClass& c = classes_[ClassOf(size)];
      c.last_use = ++clock_;
      if (!c.free.empty()) {
        p = c.free.back();
        c.free.pop_back();
        stats_.cached -= size;
        return p;
      }
      const size_t bound = std::max(kAlwaysKeep, stats_.peak);
      Evict(bound - std::min(bound, stats_.in_use), &excess);
    }
    Return(excess);
    p = FromSystem(size);
    if (p == nullptr && Empty() > 0) p = FromSystem(size);
    if (p == nullptr) {
      std::lock_guard lock(mutex_);
      stats_.peak = stats_.in_use -= size;  // Empty began a peak that counts what was refused
    }
    return p;
  }

  void Give(void* p, size_t size) noexcept {
    {
      std::lock_guard lock(mutex_);
      stats_.in_use -= size;
      if (stats_.cached + size <= limit_) {
        SizeClass& c = classes_[ClassOf(size)];
        c.free.push_back(p);
        c.bytes = size;
        stats_.cached += size;
        return;
      }
    }
    ToSystem(p, size);
  }

  size_t Empty() {
    std::vector<Block> all;
    {
      std::lock_guard lock(mutex_);
      Evict(0, &all);
      stats_.peak = stats_.in_use;
    }
    return Return(all);
  }

  void SetLimit(size_t bytes) {
    std::vector<Block> excess;
    {
      std::lock_guard lock(mutex_);
      limit_ = bytes;
      Evict(bytes, &excess);
    }
    Return(excess);
  }

  HostMemoryStats Stats() {
    std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  struct SizeClass {
    std::vector<void*> free;
    size_t bytes = 0;
    uint64_t last_use = 0;
  };

  LargeBlocks() {
    if (const char* text = std::getenv("OSTRIA_CACHE_MB"); text != nullptr && *text != '\0') {
      char* end = nullptr;
      const long long asked = std::strtoll(text, &end, 10);
      if (*end != '\0' || asked < 0 || asked > 1LL << 40) {
        Fail(ErrorCode::kInvalidArgument, "OSTRIA_CACHE_MB: '", text,
             "' is not a number of megabytes; give an integer of at least 0, or unset it");
      }
      limit_ = static_cast<size_t>(asked) << 20;
    }
    // A child of fork() must not find the lock held by a thread that it does not have.
    pthread_atfork([] { Get().mutex_.lock(); }, [] { Get().mutex_.unlock(); },
                   [] { Get().mutex_.unlock(); });
  }

  static size_t ClassOf(size_t size) {
    const int log = std::bit_width(size) - 1;
    return static_cast<size_t>(log) * 8 + ((size >> (log - 3)) & 7);
  }

  // With mutex_ held.
  void Evict(size_t keep, std::vector<Block>* out) {
    while (stats_.cached > keep) {
      SizeClass* oldest = nullptr;
      for (SizeClass& c : classes_) {
        if (!c.free.empty() && (oldest == nullptr || c.last_use < oldest->last_use)) oldest = &c;
      }
      out->push_back({oldest->free.back(), oldest->bytes});
      oldest->free.pop_back();
      stats_.cached -= oldest->bytes;
    }
  }

  static size_t Return(const std::vector<Block>& blocks) {
    size_t bytes = 0;
    for (const Block& b : blocks) {
      ToSystem(b.data, b.bytes);
      bytes += b.bytes;
    }
    return bytes;
  }

  std::mutex mutex_;
  HostMemoryStats stats_;
  size_t limit_ = std::numeric_limits<size_t>::max();
  uint64_t clock_ = 0;
  std::array<SizeClass, 64 * 8> classes_;
};

}  // namespace

size_t HostBlockSize(size_t bytes) {
  if (bytes <= kSmall) return std::bit_ceil(std::max(bytes, kAlign));
  const size_t step = std::bit_floor(bytes) / 8;
  return bytes > std::numeric_limits<size_t>::max() / 2 ? bytes : (bytes + step - 1) / step * step;
}

void* AllocateHost(size_t bytes) {
  const size_t size = kReuse ? HostBlockSize(bytes) : std::max<size_t>(bytes, 1);
  void* p = nullptr;
  if (size > std::numeric_limits<size_t>::max() / 2) {
    p = nullptr;
  } else if (!kReuse) {
    p = FromSystem(size);
  } else if (size > kSmall) {
    p = LargeBlocks::Get().Take(size);
  } else if (SmallBlocks::alive && !SmallBlocks::lists.free[SmallBlocks::ClassOf(size)].empty()) {
    auto& blocks = SmallBlocks::lists.free[SmallBlocks::ClassOf(size)];
    p = blocks.back();
    blocks.pop_back();
  } else {
    p = FromSystem(size);
  }
  if (p == nullptr) FailRefused(bytes);
  return p;
}

void FreeHost(void* data, size_t bytes) noexcept {
  const size_t size = HostBlockSize(bytes);
  if (!kReuse) {
    std::free(data);
  } else if (size > kSmall) {
    LargeBlocks::Get().Give(data, size);
  } else {
    if (SmallBlocks::alive) {
      auto& blocks = SmallBlocks::lists.free[SmallBlocks::ClassOf(size)];
      if (blocks.size() < SmallBlocks::kKeep) {
        blocks.push_back(data);
        return;
      }
    }
    std::free(data);
  }
}

HostMemoryStats GetHostMemoryStats() { return LargeBlocks::Get().Stats(); }
size_t EmptyHostCache() { return LargeBlocks::Get().Empty(); }
void SetHostCacheLimit(size_t bytes) { LargeBlocks::Get().SetLimit(bytes); }

}  // namespace ostria
