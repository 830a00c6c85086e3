// SPDX-License-Identifier: Apache-2.0
// Where tensors' memory comes from: what is used again, and what goes back to the system.
#include "core/host_memory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "base/error.h"
#include "core/tensor.h"

namespace ostria {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

class HostMemory : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers see every block anew";
#endif
    EmptyHostCache();
    begin_ = GetHostMemoryStats();
  }
  void TearDown() override { SetHostCacheLimit(std::numeric_limits<size_t>::max()); }

  HostMemoryStats begin_;
};

TEST_F(HostMemory, ABlockIsAtMostAnEighthLargerThanItsTensor) {
  for (size_t bytes = 64 * 1024 + 1; bytes < size_t{1} << 40; bytes += bytes / 7) {
    const size_t size = HostBlockSize(bytes);
    EXPECT_GE(size, bytes);
    EXPECT_LE(static_cast<double>(size), 1.125 * static_cast<double>(bytes)) << bytes;
    EXPECT_EQ(HostBlockSize(size), size);
    EXPECT_EQ(HostBlockSize(size + 1) > size, true);
  }
}

TEST_F(HostMemory, AFreedBlockIsTheNextOneOfItsSize) {
  for (const size_t bytes : {100 * size_t{1024}, kMiB, 5 * kMiB, 64 * kMiB}) {
    void* first = AllocateHost(bytes);
    std::memset(first, 1, bytes);
    FreeHost(first, bytes);
    EXPECT_EQ(GetHostMemoryStats().cached - begin_.cached, HostBlockSize(bytes));
    void* second = AllocateHost(bytes - 1);
    EXPECT_EQ(first, second);
    EXPECT_EQ(GetHostMemoryStats().cached, begin_.cached);
    FreeHost(second, bytes - 1);
    EXPECT_EQ(EmptyHostCache(), HostBlockSize(bytes));
  }
}

TEST_F(HostMemory, BlocksAreAligned) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{65}, 70001 * size_t{1}, 3 * kMiB}) {
    void* p = AllocateHost(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u) << bytes;
    FreeHost(p, bytes);
  }
  void* large = AllocateHost(9 * kMiB);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large) % (2 * kMiB), 0u);
  FreeHost(large, 9 * kMiB);
}

// A program that goes through many sizes never holds more than its own peak, or 256 MiB.
TEST_F(HostMemory, WhatWaitsIsBoundedByThePeak) {
  for (size_t mib = 8; mib < 200; mib += 7) {  // never touched: costs addresses only
    void* p = AllocateHost(mib * kMiB);
    void* q = AllocateHost(2 * mib * kMiB);
    FreeHost(p, mib * kMiB);
    FreeHost(q, 2 * mib * kMiB);
    const HostMemoryStats now = GetHostMemoryStats();
    EXPECT_LE(now.in_use + now.cached, std::max(now.peak, 256 * kMiB));
  }
  EXPECT_GT(GetHostMemoryStats().cached, 0u);
}

TEST_F(HostMemory, TheSizeNotAskedForLongestGoesFirst) {
  const auto once = [](size_t bytes) {
    void* p = AllocateHost(bytes);
    FreeHost(p, bytes);
    return p;
  };
  once(96 * kMiB);
  void* recent = once(112 * kMiB);
  once(128 * kMiB);  // over 256 MiB with both
  EXPECT_EQ(once(112 * kMiB), recent);
  EXPECT_EQ(GetHostMemoryStats().cached, 240 * kMiB);
}

TEST_F(HostMemory, ALimitOfNothingKeepsNothing) {
  SetHostCacheLimit(0);
  FreeHost(AllocateHost(kMiB), kMiB);
  EXPECT_EQ(GetHostMemoryStats().cached, 0u);
}

TEST_F(HostMemory, ATensorKeepsItsBlockWhileAnyoneHoldsIt) {
  Tensor t = Tensor::Zeros(DType::kFloat32, {1 << 20});
  const std::shared_ptr<Buffer> view = t.buffer();
  void* data = t.raw();
  t = Tensor();
  EXPECT_NE(Tensor::Empty(DType::kFloat32, {1 << 20}).raw(), data);
  EXPECT_EQ(*static_cast<float*>(view->data()), 0.0f);
}

TEST_F(HostMemory, WhatCannotBeHadIsAnErrorAndCountsNothing) {
  EXPECT_THROW(AllocateHost(size_t{1} << 60), Error);
  EXPECT_THROW(AllocateHost(std::numeric_limits<size_t>::max() - 5), Error);
  EXPECT_EQ(GetHostMemoryStats().in_use, begin_.in_use);
  EXPECT_EQ(GetHostMemoryStats().peak, begin_.in_use);  // also bounds what waits
}

TEST_F(HostMemory, ThreadsShareBlocksButNeverOne) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 500; ++i) {
        const size_t bytes = static_cast<size_t>(i % 5 + 1) * 100'000;
        auto* p = static_cast<int*>(AllocateHost(bytes));
        p[0] = p[bytes / 4 - 1] = t;
        std::this_thread::yield();
        EXPECT_TRUE(p[0] == t && p[bytes / 4 - 1] == t);
        FreeHost(p, bytes);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(GetHostMemoryStats().in_use, begin_.in_use);
}

TEST_F(HostMemory, AChildOfForkAllocatesAndFrees) {
  FreeHost(AllocateHost(kMiB), kMiB);
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) FreeHost(AllocateHost(100'000), 100'000);
  });
  for (int i = 0; i < 50 && !HasFailure(); ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(5);
      void* p = AllocateHost(kMiB);
      std::memset(p, 1, kMiB);
      FreeHost(p, kMiB);
      _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << "child " << i;
  }
  stop = true;
  busy.join();
}

}  // namespace
}  // namespace ostria
