// SPDX-License-Identifier: Apache-2.0
#include "base/wait_watch.h"

#include <gtest/gtest.h>

namespace ostria {
namespace {

constexpr int64_t kMs = 1'000'000, kS = 1'000'000'000;

// Ten loops that took 21 ms instead of 1. Returns the time of the last.
int64_t Overrun(WaitWatch* watch, int64_t now) {
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(watch->Note(now += 21 * kMs, 21 * kMs, kMs));
  EXPECT_TRUE(watch->Note(now += 21 * kMs, 21 * kMs, kMs));
  return now;
}

TEST(WaitWatch, SleepsWhereAFifthOfASecondIsWastedAndTriesSpinningAgain) {
  WaitWatch watch;
  const int64_t now = Overrun(&watch, kS);
  EXPECT_TRUE(watch.Sleeping(now + kS));
  EXPECT_FALSE(watch.Sleeping(now + 2 * kS));
}

TEST(WaitWatch, SleepsLongerWhileTheNeighbourStays) {
  WaitWatch watch;
  int64_t now = kS;
  for (int64_t hold : {2, 4, 8, 16, 32, 64, 64}) {
    now = Overrun(&watch, now);
    EXPECT_TRUE(watch.Sleeping(now + hold * kS - 1)) << hold;
    EXPECT_FALSE(watch.Sleeping(now + hold * kS)) << hold;
    now += hold * kS;
  }
  // Gone for a while: as at first.
  now = Overrun(&watch, now + 100 * kS);
  EXPECT_FALSE(watch.Sleeping(now + 2 * kS));
}

TEST(WaitWatch, LongWorkShortWaitsAndRareOverrunsAreFine) {
  WaitWatch watch;
  for (int64_t i = 1; i < 100; ++i) {
    EXPECT_FALSE(watch.Note(kS + i * kMs, kMs / 2, 1000));        // 0.5 ms is no slice
    EXPECT_FALSE(watch.Note(kS + i * kMs, 100 * kMs, 50 * kMs));  // twice the work
    EXPECT_FALSE(watch.Note((2 + i) * kS, 300 * kMs, kMs));       // one in a second
  }
  for (int64_t i = 1; i < 100; ++i) {  // a slice of 4 ms every 50 ms
    EXPECT_FALSE(watch.Note(200 * kS + i * 50 * kMs, 4 * kMs, kMs / 10));
  }
}

}  // namespace
}  // namespace ostria
