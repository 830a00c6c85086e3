// SPDX-License-Identifier: Apache-2.0
#include "dist/futex.h"

#include <gtest/gtest.h>

#include <chrono>

namespace ostria {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

// Says yes when it was asked a hundred times, the fiftieth of which takes `pause`.
class Slow {
 public:
  explicit Slow(microseconds pause) : pause_(pause) {}
  bool operator()() {
    if (++asked_ == 50) {
      const auto end = steady_clock::now() + pause_;
      while (steady_clock::now() < end) {
      }
    }
    return asked_ > 100;
  }

 private:
  const microseconds pause_;
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
  EXPECT_TRUE(Once([] { return SpinBudget(false).Spin(Slow(microseconds(350))); }));
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
