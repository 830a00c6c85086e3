// SPDX-License-Identifier: Apache-2.0
#include "dist/futex.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>

namespace ostria {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

int64_t TimesPutOffItsCore() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

// Answers only after `first`, and then no; later yes.
class Slow {
 public:
  explicit Slow(microseconds first) : first_(first) {}
  bool operator()() {
    const auto end = steady_clock::now() + first_;
    while (steady_clock::now() < end) {
    }
    first_ = microseconds(0);
    return ++asked_ > 100;
  }

 private:
  microseconds first_;
  int asked_ = 0;
};

TEST(SpinBudget, TimeThatNoOtherThreadTookIsNoReasonToSleep) {
  for (int i = 0; i < 100; ++i) {
    SpinBudget spin(false);
    const int64_t before = TimesPutOffItsCore();
    const bool awake = spin.Spin(Slow(microseconds(1000)));
    if (TimesPutOffItsCore() != before) continue;  // on a busy machine: again
    EXPECT_TRUE(awake);
    return;
  }
  GTEST_SKIP() << "other threads took the core each time";
}

TEST(SpinBudget, WithFewerCoresThanThreadsAWaitIsAsleep) {
  EXPECT_FALSE(SpinBudget(true).Spin([] { return true; }));
}

TEST(SpinBudget, WaitsThatAreLongAreSleptSoonerAndShortOnesAgainAwake) {
  SpinBudget spin(false);
  const auto never = [] { return false; };
  const auto time = [&] {
    const auto begin = steady_clock::now();
    spin.Spin(never);
    return steady_clock::now() - begin;
  };
  auto first = time();
  for (int i = 0; i < 12; ++i) spin.Note(true, std::chrono::seconds(1));
  auto last = time();
  for (int i = 0; i < 20 && last * 4 > first; ++i) last = std::min(last, time());
  EXPECT_LT(last * 4, first);
  for (int i = 0; i < 12; ++i) spin.Note(false, microseconds(5));
  EXPECT_TRUE(spin.Spin(Slow(microseconds(0))));
}

}  // namespace
}  // namespace ostria
