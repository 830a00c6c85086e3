// SPDX-License-Identifier: Apache-2.0
// The machine that runs kernels on the host: it must show the mistakes that tests look for.
#include <gtest/gtest.h>

#include <array>
#include <stdexcept>
#include <thread>

#include "kernels/host/cluster.h"

namespace ostria::kernels {
namespace {

constexpr unsigned kThreads = 96;

struct NeighbourParams {
  int* dst;
  bool barrier;
};

// Each thread reads what its neighbour wrote.
void Neighbour(const void* params) {
  const auto& p = *static_cast<const NeighbourParams*>(params);
  static int written[kThreads];
  written[threadIdx.x] = -1;
  __syncthreads();
  written[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (p.barrier) __syncthreads();
  p.dst[threadIdx.x] = written[(threadIdx.x + 1) % kThreads];
}

TEST(HostMachine, AMissingBarrierShows) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (const bool barrier : {true, false}) {
      std::array<int, kThreads> dst = {};
      const NeighbourParams p{dst.data(), barrier};
      host::SetSeed(seed);
      host::LaunchBody(Neighbour, {1}, {kThreads}, 0, &p);
      int wrong = 0;
      for (unsigned i = 0; i < kThreads; ++i) {
        wrong += dst[i] == static_cast<int>((i + 1) % kThreads) ? 0 : 1;
      }
      EXPECT_EQ(wrong > 0, !barrier);
    }
  }
}

// A block that ends early, in one way or another, leaves nothing behind.
TEST(HostMachine, GoesOnAfterABlockThatFailed) {
  const auto throws = [](const void*) {
    __syncthreads();
    if (threadIdx.x == 7) throw std::runtime_error("of thread 7");
    __syncthreads();
  };
  const auto hangs = [](const void*) {
    if (threadIdx.x == 0) __syncwarp(3u);
  };
  for (int round = 0; round < 3; ++round) {
    EXPECT_THROW(host::LaunchBody(throws, {2}, {64}, 0, nullptr), std::runtime_error);
    EXPECT_THROW(host::LaunchBody(hangs, {1}, {64}, 0, nullptr), std::logic_error);
    std::array<int, kThreads> dst = {};
    const NeighbourParams p{dst.data(), true};
    host::LaunchBody(Neighbour, {1}, {kThreads}, 0, &p);
    EXPECT_EQ(dst[0], 1);
  }
}

struct IndexParams {
  unsigned* dst;
};

// Threads of three dimensions that wait are the same threads when they go on.
TEST(HostMachine, AThreadKeepsItsNumbers) {
  const auto body = [](const void* params) {
    const uint3 before = threadIdx;
    for (int i = 0; i < 3; ++i) {
      __syncwarp();
      __syncthreads();
    }
    const bool same = before.x == threadIdx.x && before.y == threadIdx.y && before.z == threadIdx.z;
    const unsigned index = threadIdx.x + 5 * (threadIdx.y + 7 * threadIdx.z);
    if (same) static_cast<const IndexParams*>(params)->dst[index] = blockIdx.y + 1;
  };
  std::array<unsigned, 5 * 7 * 3> dst = {};
  const IndexParams p{dst.data()};
  host::LaunchBody(body, {1, 2}, {5, 7, 3}, 0, &p);
  for (const unsigned block : dst) EXPECT_TRUE(block == 1 || block == 2);
}

struct ClusterParams {
  unsigned* dst;
  bool first, last;  // barriers
};

// Each block leaves its number in its own shared memory, and reads that of the other.
void OtherBlock(const void* params) {
  const auto& p = *static_cast<const ClusterParams*>(params);
  auto* const own = static_cast<unsigned*>(host::DynamicShared());
  own[threadIdx.x] = blockIdx.x;
  if (p.first) host::SyncCluster();
  const void* const there = host::SharedOf(1 - blockIdx.x % 2, own + threadIdx.x);
  p.dst[blockIdx.x * 64 + threadIdx.x] = *static_cast<const unsigned*>(there);
  if (p.last) host::SyncCluster();
}

TEST(HostMachine, BlocksOfAClusterReadEachOther) {
  const host::Cluster cluster(OtherBlock, 2);
  std::array<unsigned, 4 * 64> dst = {};
  int unseen = 0, ended = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    host::SetSeed(seed);
    const ClusterParams good{dst.data(), true, true};
    host::LaunchBody(OtherBlock, {4}, {64}, 64 * sizeof(unsigned), &good);
    for (unsigned i = 0; i < dst.size(); ++i) EXPECT_EQ(dst[i], i / 64 ^ 1);
    const ClusterParams early{dst.data(), false, true};
    host::LaunchBody(OtherBlock, {4}, {64}, 64 * sizeof(unsigned), &early);
    for (unsigned i = 0; i < dst.size(); ++i) unseen += dst[i] == (i / 64 ^ 1) ? 0 : 1;
    // Without the last barrier a block is gone when the other comes to read.
    const ClusterParams gone{dst.data(), true, false};
    try {
      host::LaunchBody(OtherBlock, {4}, {64}, 64 * sizeof(unsigned), &gone);
    } catch (const std::logic_error&) {
      ++ended;
    }
  }
  EXPECT_GT(unseen, 0);
  EXPECT_GT(ended, 0);
  const ClusterParams good{dst.data(), true, true};
  EXPECT_THROW(host::LaunchBody(OtherBlock, {3}, {64}, 256, &good), std::logic_error);
  EXPECT_THROW(host::LaunchBody(OtherBlock, {2}, {48}, 256, &good), std::logic_error);
  EXPECT_THROW(host::LaunchBody(OtherBlock, {2}, {64}, 0, &good), std::logic_error);
}

// Each thread of the host has a machine of its own.
TEST(HostMachine, RunsInSeveralThreadsOfTheHost) {
  std::array<std::array<unsigned, 5 * 7 * 3>, 4> dst = {};
  std::array<std::thread, 4> threads;
  for (size_t t = 0; t < threads.size(); ++t) {
    threads[t] = std::thread([&, t] {
      const auto body = [](const void* params) {
        __syncthreads();
        auto* d = static_cast<const IndexParams*>(params)->dst;
        d[threadIdx.x + 5 * (threadIdx.y + 7 * threadIdx.z)] += 1;
      };
      const IndexParams p{dst[t].data()};
      for (int round = 0; round < 5; ++round) host::LaunchBody(body, {3}, {5, 7, 3}, 0, &p);
    });
  }
  for (std::thread& t : threads) t.join();
  for (const auto& one : dst) {
    for (const unsigned n : one) EXPECT_EQ(n, 15u);
  }
}

}  // namespace
}  // namespace ostria::kernels
