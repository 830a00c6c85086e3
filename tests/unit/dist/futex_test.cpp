// SPDX-License-Identifier: Apache-2.0
#include "dist/futex.h"

#include <gtest/gtest.h>

#include <chrono>

namespace ostria {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

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

// Whether `test` holds in one of many tries: other threads may take the core, and a host the
// machine's.
template <class Test>
bool Once(const Test& test) {
  for (int i = 0; i < 200; ++i) {
    if (test()) return true;
  }
  return false;
}

TEST(SpinBudget, TimeThatNoOtherThreadTookIsNoReasonToSleep) {
  EXPECT_TRUE(Once([] { return SpinBudget(false).Spin(Slow(microseconds(1000))); }));
}

TEST(SpinBudget, WithFewerCoresThanThreadsAWaitIsAsleep) {
  EXPECT_FALSE(SpinBudget(true).Spin([] { return true; }));
}

TEST(SpinBudget, WaitsThatAreLongAreSleptSoonerAndShortOnesAgainAwake) {
  const auto holds = [] {
    SpinBudget spin(false);
    const auto looks = [&] {  // that it takes at what never comes
      int64_t n = 0;
      spin.Spin([&] { return ++n < 0; });
      return n;
    };
    const int64_t first = looks();
    for (int i = 0; i < 12; ++i) spin.Note(true, std::chrono::seconds(1));
    const int64_t last = looks();
    for (int i = 0; i < 12; ++i) spin.Note(false, microseconds(5));
    return last * 4 < first && spin.Spin(Slow(microseconds(0)));
  };
  EXPECT_TRUE(Once(holds));
}

}  // namespace
}  // namespace ostria
