// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/stream.h"
#include "backend_cuda/fake.h"

namespace ostria {

Backend* CudaBackend();

namespace {

constexpr size_t kMiB = size_t{1} << 20;

// A pool of its own over device 0, on a driver with 64 MiB.
class CudaMemory : public testing::Test {
 protected:
  CudaMemory() : device(cuda::CudaDevice::Get(0)) {
    device.memory().Trim();
    fake::Memory(64 * kMiB);
  }
  ~CudaMemory() override {
    fake::Fail("");
    fake::Reset();
    fake::Vmm(true);
    fake::Memory(size_t{8} << 30);
  }
  static std::string MessageOf(const std::function<void()>& run) {
    try {
      run();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory) << e.what();
      return e.what();
    }
    ADD_FAILURE() << "no error";
    return {};
  }
  std::vector<unsigned char> Read(const void* p, size_t bytes) {
    std::vector<unsigned char> out(bytes);
    device.CopyToHost(out.data(), p, bytes);
    return out;
  }

  cuda::CudaDevice& device;
};

TEST_F(CudaMemory, ReusesWhatIsFreedWithoutAskingTheDriver) {
  cuda::MemoryPool pool(&device);
  void* a = pool.Allocate(100);
  pool.Free(a);
  const int64_t before = fake::Count("cuMemAlloc");
  for (int i = 0; i < 50; ++i) {
    std::vector<void*> blocks;
    for (int k = 0; k < 20; ++k) blocks.push_back(pool.Allocate(static_cast<size_t>(71 * 229 * k)));
    for (void* p : blocks) pool.Free(p);
  }
  EXPECT_EQ(pool.Allocate(1), a);  // all of it has merged again
  EXPECT_LE(fake::Count("cuMemAlloc") - before, 1);
  pool.Free(a);
  pool.Trim();
}

TEST_F(CudaMemory, BlocksNeverOverlapAndAreAligned) {
  cuda::MemoryPool pool(&device);
  std::mt19937_64 random(1);
  struct Block {
    std::byte* p;
    size_t bytes;
  };
  std::vector<Block> live;
  for (int i = 0; i < 2000; ++i) {
    if (live.size() > 30 || (!live.empty() && random() % 3 == 0)) {
      const size_t k = random() % live.size();
      pool.Free(live[k].p);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(k));
      continue;
    }
    // From nothing to a mebibyte, small ones most.
    const size_t bytes = random() % (size_t{1} << random() % 21);
    auto* p = static_cast<std::byte*>(pool.Allocate(bytes));
    ASSERT_EQ(reinterpret_cast<uintptr_t>(p) % 256, 0u);
    for (const Block& b : live) {
      ASSERT_TRUE(p + std::max<size_t>(bytes, 1) <= b.p || b.p + std::max<size_t>(b.bytes, 1) <= p);
    }
    live.push_back({p, bytes});
  }
  for (const Block& b : live) pool.Free(b.p);
  EXPECT_EQ(pool.Stats().in_use, 0u);
  EXPECT_GT(pool.Stats().peak, 0u);
  EXPECT_GE(pool.Stats().reserved, pool.Stats().peak);
  const size_t reserved = pool.Stats().reserved;
  EXPECT_EQ(pool.Trim(), reserved);
  EXPECT_EQ(pool.Stats().reserved, 0u);
  EXPECT_EQ(pool.Stats().peak, 0u);
}

TEST_F(CudaMemory, TakesNoMoreThanIsNeeded) {
  cuda::MemoryPool pool(&device);
  void* p = pool.Allocate(5 * kMiB);
  EXPECT_LE(pool.Stats().reserved, 32 * kMiB);
  // What is left is used although no usual segment fits.
  void* q = pool.Allocate(31 * kMiB);
  pool.Free(p);
  pool.Free(q);
  pool.Trim();
  EXPECT_EQ(pool.Stats().free, pool.Stats().total);
}

TEST_F(CudaMemory, GivesBackWhatWaitsBeforeItRefuses) {
  cuda::MemoryPool pool(&device);
  pool.Free(pool.Allocate(40 * kMiB));
  void* p = pool.Allocate(50 * kMiB);
  EXPECT_EQ(pool.Stats().in_use, 50 * kMiB);
  pool.Free(p);
  pool.Trim();
}

TEST_F(CudaMemory, SaysWhoHoldsTheMemoryAndGoesOn) {
  cuda::MemoryPool pool(&device);
  void* big = pool.Allocate(20 * kMiB);
  void* small = pool.Allocate(1000);
  void* region = pool.Reserve(size_t{1} << 40);
  pool.Commit(region, 3 * kMiB);
  pool.Free(pool.Allocate(1000));
  const std::string text = MessageOf([&] { pool.Allocate(60 * kMiB); });
  for (const char* part :
       {"cuda:0: out of memory: a tensor needs 60.0 MiB", "20.0 MiB of tensors",
        "4.00 MiB of plans and variables", "wait to be used again", "of 64.0 MiB are free",
        "the largest tensors alive take 20.0 MiB, 1000 bytes", "use a smaller batch"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
  EXPECT_NE(MessageOf([&] { pool.Commit(region, 60 * kMiB); }).find("a region needs 56.0 MiB"),
            std::string::npos);
  pool.Free(pool.Allocate(1 * kMiB));
  pool.Commit(region, 6 * kMiB);
  pool.Release(region);
  pool.Free(big);
  pool.Free(small);
  pool.Trim();
  EXPECT_EQ(pool.Stats().reserved, 0u);
}

class CudaRegion : public CudaMemory, public testing::WithParamInterface<bool> {
 protected:
  CudaRegion() { fake::Vmm(GetParam()); }
};

TEST_P(CudaRegion, GrowsInPlaceKeepsItsBytesAndIsZeroAtFirst) {
  {
    cuda::MemoryPool pool(&device);
    void* base = pool.Reserve(size_t{1} << 40);
    EXPECT_EQ(pool.Stats().reserved, 0u);
    pool.Commit(base, 100);
    EXPECT_EQ(Read(base, 100), std::vector<unsigned char>(100, 0));
    const std::vector<unsigned char> ones(2 * kMiB, 1);
    device.CopyToDevice(base, ones.data(), ones.size());
    pool.Commit(base, 7 * kMiB);
    pool.Commit(base, 1);  // never shrinks
    EXPECT_EQ(Read(base, 2 * kMiB), ones);
    EXPECT_EQ(Read(static_cast<std::byte*>(base) + 2 * kMiB, 6 * kMiB),
              std::vector<unsigned char>(6 * kMiB, 0));
    EXPECT_EQ(pool.Stats().in_use, 8 * kMiB);
    EXPECT_NE(MessageOf([&] { pool.Commit(base, 100 * kMiB); }).find("out of memory"),
              std::string::npos);
    EXPECT_EQ(Read(base, 2 * kMiB), ones);
    // Work that is under way when it goes away still finds it.
    cuda::CudaStream stream(device);
    std::vector<unsigned char> late(10);
    stream.CopyToHost(late.data(), base, late.size());
    pool.Release(base);
    EXPECT_EQ(late, std::vector<unsigned char>(10, 1));
    EXPECT_EQ(pool.Stats().reserved, 0u);
    EXPECT_EQ(pool.Stats().free, pool.Stats().total);
  }
}

INSTANTIATE_TEST_SUITE_P(Vmm, CudaRegion, testing::Bool());

TEST_F(CudaMemory, AFailureHalfwayLeavesARegionAsItWas) {
  cuda::MemoryPool pool(&device);
  void* base = pool.Reserve(16 * kMiB);
  pool.Commit(base, 2 * kMiB);
  for (const char* failure : {"cuMemMap:1:2", "cuMemSetAccess:1:2", "cuMemCreate:1"}) {
    fake::Fail(failure);
    MessageOf([&] { pool.Commit(base, 4 * kMiB); });
    fake::Fail("");
    EXPECT_EQ(pool.Stats().free, pool.Stats().total - 2 * kMiB) << failure;
  }
  pool.Commit(base, 4 * kMiB);
  EXPECT_EQ(Read(base, 4 * kMiB), std::vector<unsigned char>(4 * kMiB, 0));
  pool.Release(base);
}

TEST_F(CudaMemory, AllocatesAndCommitsWhileAStreamIsCaptured) {
  cuda::MemoryPool pool(&device);
  cuda::CudaStream stream(device);
  stream.BeginCapture();
  void* p = pool.Allocate(1000);
  void* base = pool.Reserve(kMiB);
  pool.Commit(base, kMiB);
  const int value = 7;
  device.CopyToDevice(base, &value, sizeof value);
  stream.CopyOnDevice(p, base, 4);
  const auto recording = stream.EndCapture();
  EXPECT_EQ(recording->num_nodes(), 1);
  pool.Release(base);
  pool.Free(p);
  pool.Trim();
}

// A block that is freed while work on it waits goes to later work of the same stream.
TEST_F(CudaMemory, FreedBlocksAreReusedInTheOrderOfTheStream) {
  cuda::CudaStream stream(device);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    fake::Seed(seed);
    const int one = 1, two = 2;
    int got_one = 0, got_two = 0;
    void* p = device.memory().Allocate(4);
    stream.CopyToDevice(p, &one, 4);
    stream.CopyToHost(&got_one, p, 4);
    device.memory().Free(p);
    void* q = device.memory().Allocate(4);
    EXPECT_EQ(p, q);
    stream.CopyToDevice(q, &two, 4);
    stream.CopyToHost(&got_two, q, 4);
    device.memory().Free(q);
    stream.Synchronize();
    EXPECT_EQ(got_one, 1);
    EXPECT_EQ(got_two, 2);
  }
}

TEST_F(CudaMemory, BlockingCopiesComeAfterTheStreams) {
  cuda::CudaStream stream(device);
  void* p = device.memory().Allocate(4);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    fake::Seed(seed);
    const int one = 1, two = 2;
    int got = 0;
    stream.CopyToDevice(p, &one, 4);
    device.CopyToHost(&got, p, 4);
    EXPECT_EQ(got, 1);
    stream.CopyToDevice(p, &one, 4);
    device.CopyToDevice(p, &two, 4);
    stream.CopyToHost(&got, p, 4);
    stream.Synchronize();
    EXPECT_EQ(got, 2);
  }
  device.memory().Free(p);
}

TEST_F(CudaMemory, PinnedMemoryIsKept) {
  Backend& backend = *CudaBackend();
  void* p = backend.AllocatePinned(5000);
  backend.FreePinned(p, 5000);
  const int64_t before = fake::Count("cuMemHostAlloc");
  EXPECT_EQ(backend.AllocatePinned(6000), p);
  EXPECT_EQ(fake::Count("cuMemHostAlloc"), before);
  void* q = backend.AllocatePinned(3 * kMiB + 1);
  EXPECT_NE(q, p);
  backend.FreePinned(q, 3 * kMiB + 1);
  backend.FreePinned(p, 6000);
  // What waits is given back before it is refused.
  fake::Fail("cuMemHostAlloc:1");
  void* r = backend.AllocatePinned(9 * kMiB);
  backend.FreePinned(r, 9 * kMiB);
}

TEST_F(CudaMemory, IsSharedByThreads) {
  cuda::MemoryPool pool(&device);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      for (int i = 0; i < 300; ++i) {
        void* p = pool.Allocate(random() % (1 << 18));
        const size_t bytes = random() % 10000;
        cuda::FreePinnedBlock(cuda::AllocatePinnedBlock(bytes), bytes);
        pool.Free(p);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(pool.Stats().in_use, 0u);
  pool.Trim();
}

}  // namespace
}  // namespace ostria
