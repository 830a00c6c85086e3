// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace ostria {
namespace {

using namespace std::chrono_literals;

TEST(ParallelFor, CoversEveryItemOnce) {
  for (int threads : {1, 2, 3}) {
    SetNumThreads(threads);
    for (int64_t n : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
      ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      for (const auto& count : seen) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ParallelFor, WorkBelowTheGrainAndNestedLoopsRunInline) {
  SetNumThreads(2);
  const auto self = std::this_thread::get_id();
  ParallelFor(7, 8, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(end - begin, 7);
    EXPECT_EQ(std::this_thread::get_id(), self);
  });
  ParallelFor(2, 1, [&](int64_t, int64_t) {
    const auto outer = std::this_thread::get_id();
    ParallelFor(8, 1, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(end - begin, 8);
      EXPECT_EQ(std::this_thread::get_id(), outer);
    });
  });
}

TEST(Parallel, CountsTheCoresThatTheThreadMayRunOn) {
  std::thread([] {
    const int all = NumCores();
    EXPECT_GE(all, 1);
    cpu_set_t set, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    CPU_ZERO(&one);
    for (int c = 0; c < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++c) {
      if (CPU_ISSET(c, &set)) CPU_SET(c, &one);
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(NumCores(), 1);
    ASSERT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
    EXPECT_EQ(NumCores(), all);
  }).join();
}

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// What the threads of a library's loops cost while they wait for one that naps.
double CostOfWaiting() {
  const double before = CpuSeconds();
  for (int i = 0; i < 20; ++i) {
#pragma omp parallel num_threads(2)
    {
#pragma omp single nowait
      std::this_thread::sleep_for(10ms);
    }
  }
  return CpuSeconds() - before;
}

// Loops that take 10 ms although they took 1 us once.
void Overrun() {
  std::atomic<int64_t> shortest{1000};
  for (int i = 0; i < 50 && !CoresAreBusy(); ++i) {
    const LoopTimer timer(2, &shortest);
    std::this_thread::sleep_for(10ms);
  }
}

TEST(LoopTimer, WaitingThreadsSleepWhereLoopsOverrun) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two cores";
  SetNumThreads(2);
  ASSERT_FALSE(CoresAreBusy());
  const double spinning = CostOfWaiting();
  Overrun();
  ASSERT_TRUE(CoresAreBusy());
  std::this_thread::sleep_for(20ms);  // until the crowd stands
  EXPECT_LT(CostOfWaiting(), spinning / 4);
  const auto self = std::this_thread::get_id();
  ParallelFor(2, 1, [&](int64_t, int64_t) { EXPECT_EQ(std::this_thread::get_id(), self); });
}

TEST(LoopTimer, LoopsOnOneThreadAndQuickOnesSayNothing) {
  std::atomic<int64_t> shortest{1000};
  for (int i = 0; i < 8; ++i) {
    {
      const LoopTimer timer(1, &shortest);
      std::this_thread::sleep_for(2ms);
    }
    const LoopTimer timer(2, &shortest);
  }
  EXPECT_FALSE(CoresAreBusy());
  EXPECT_LT(shortest, 1000);
}

}  // namespace
}  // namespace ostria
