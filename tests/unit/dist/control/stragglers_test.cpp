// SPDX-License-Identifier: Apache-2.0
// Where the time of steps goes, and who is told to hold the others up, by clocks that tests turn.
#include "dist/control/stragglers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dist/control/rig.h"
#include "dist/control/step_clock.h"

namespace ostria::control {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int64_t kMs = 1'000'000;

// --- A rank's own clock
// ---------------------------------------------------------------------------

TEST(StepClock, DividesTheTimeBetweenTwoEnds) {
  StepClock clock;
  clock.Begin(0, 0);
  clock.End(500, 90, true, false);
  EXPECT_EQ(clock.pace().steps, 0);  // nobody knows when it had begun to come to it
  clock.Read(20, 300);
  clock.Skip(7);
  clock.Begin(600, 100);              // 100 later, of which 10 in a collective, 20 reading
  clock.End(1000, 150, true, false);  // 400, of which 50 in collectives
  EXPECT_EQ(clock.pace().steps, 1);
  EXPECT_EQ(clock.pace().input, 20);
  EXPECT_EQ(clock.pace().ahead, 300);
  EXPECT_EQ(clock.pace().compute, 350);
  EXPECT_EQ(clock.pace().comm, 60);
  EXPECT_EQ(clock.pace().between, 100 - 10 - 20 - 7);
  clock.Begin(1010, 150);
  clock.End(1110, 150, true, true);
  EXPECT_EQ(clock.pace().comm, 160);  // opaque: all of it
  EXPECT_EQ(clock.pace().compute, 350);
  EXPECT_EQ(clock.pace().between, 63 + 10);
  EXPECT_EQ(clock.pace().input, 20);
}

TEST(StepClock, WhatDoesNotCountLeavesNoTrace) {
  StepClock clock;
  clock.Begin(0, 0);
  clock.End(10, 0, true, false);
  clock.Read(1000, 1000);
  clock.Begin(2000, 0);
  clock.End(9000, 500, false, false);
  EXPECT_EQ(clock.pace().steps, 0);
  clock.End(9500, 900, true, false);  // it was not begun
  clock.Begin(9100, 500);
  clock.End(9200, 20, true, false);  // the group is another one, and counts from 0
  EXPECT_EQ(clock.pace().steps, 1);
  EXPECT_EQ(clock.pace().input, 0);
  EXPECT_EQ(clock.pace().ahead, 0);
  EXPECT_EQ(clock.pace().compute, 100);
  EXPECT_EQ(clock.pace().comm, 0);
  EXPECT_EQ(clock.pace().between, 100);
}

// --- All of them
// ----------------------------------------------------------------------------------

// Ranks whose steps take so many milliseconds each; all wait for the slowest.
class Ranks {
 public:
  struct Step {
    int64_t input = 1, compute = 10, between = 0, ahead = 0;
  };
  explicit Ranks(int world)
      : members_(world, {}), all_(world, seconds(10)), paces_(static_cast<size_t>(world)) {
    for (int r = 0; r < world; ++r) members_.seat(r).member.host = StrCat("host-", r);
  }

  /// So many steps, then a heartbeat of each rank; the lines that are said.
  std::vector<std::string> Run(const std::vector<Step>& each, int steps) {
    int64_t longest = 0;
    for (const Step& s : each) longest = std::max(longest, s.input + s.compute + s.between);
    std::vector<std::string> lines;
    for (size_t r = 0; r < each.size(); ++r) {
      Pace& p = paces_[r];
      const Step& s = each[r];
      p.steps += steps;
      p.input += s.input * steps * kMs;
      p.compute += s.compute * steps * kMs;
      p.between += s.between * steps * kMs;
      p.ahead += s.ahead * steps * kMs;
      p.comm += (longest - s.input - s.compute - s.between + 2) * steps * kMs;
      for (auto& line : all_.Heard(static_cast<int>(r), p, members_, now)) lines.push_back(line);
    }
    now += seconds(1);
    return lines;
  }
  const std::vector<RankPace>& latest() const { return all_.latest(); }
  Time now{};

 private:
  Membership members_;
  Stragglers all_;
  std::vector<Pace> paces_;
};

TEST(Stragglers, ASlowRankIsNamedAfter20Steps) {
  Ranks ranks(4);
  const std::vector<Ranks::Step> steps{{}, {}, {1, 25}, {}};
  EXPECT_THAT(ranks.Run(steps, 1), SizeIs(0));
  EXPECT_THAT(ranks.Run(steps, 19), SizeIs(0));
  EXPECT_THAT(ranks.latest(), SizeIs(0));
  // 1 + 25 + 2 of 1 + 10 + 2: the exchange itself is no waiting.
  EXPECT_THAT(ranks.Run(steps, 1),
              ElementsAre(AllOf(HasSubstr("rank 2 (host-2) is slow: 2.15 times the median rank"),
                                HasSubstr("in 20 steps: without waiting for others one takes 28 ms,"
                                          " and 13 ms there; most of that is compute, 25 ms and "
                                          "10 ms"))));
  ASSERT_THAT(ranks.latest(), SizeIs(4));
  EXPECT_EQ(ranks.latest()[2].score, 28'000 / 13);
  EXPECT_EQ(ranks.latest()[2].section, Section::kCompute);
  EXPECT_EQ(ranks.latest()[0].score, 1000);
  EXPECT_EQ(ranks.latest()[0].comm, 17 * kMs);
}

TEST(Stragglers, ItIsSaidWhatTakesSoLong) {
  const auto section = [](Ranks::Step slow) {
    Ranks ranks(3);
    ranks.Run({{}, slow, {}}, 1);
    const auto lines = ranks.Run({{}, slow, {}}, 20);
    return lines.empty() ? "nothing" : lines[0].substr(lines[0].find("most of that is "));
  };
  EXPECT_EQ(section({30, 10, 0}), "most of that is input, 30 ms and 1 ms");
  EXPECT_EQ(section({1, 30, 0}), "most of that is compute, 30 ms and 10 ms");
  EXPECT_EQ(section({1, 10, 30}), "most of that is between steps, 30 ms and 0 ms");
}

TEST(Stragglers, WhoReadsAheadWhileItWaitsIsNoFasterForThat) {
  Ranks ranks(2);
  // Both read for about 90 ms; the first does so while it waits for the second.
  const std::vector<Ranks::Step> equal{{1, 10, 0, 88}, {85, 10, 0, 95}};
  ranks.Run(equal, 1);
  EXPECT_THAT(ranks.Run(equal, 20), SizeIs(0));
  EXPECT_EQ(ranks.latest()[0].input, (88 - 10 - 2) * kMs);
  EXPECT_EQ(ranks.latest()[1].input, 85 * kMs);
  EXPECT_EQ(ranks.latest()[1].score, 97'000 / 88);
  const std::vector<Ranks::Step> slow{{1, 10, 0, 40}, {85, 10, 0, 95}};
  EXPECT_THAT(ranks.Run(slow, 20), ElementsAre(HasSubstr("is slow: 2.42 times")));
}

TEST(Stragglers, NoAlarmBelow1_3) {
  for (const int world : {2, 3, 8}) {
    // The median is 10 + 88 + 2 ms, so a millisecond is a hundredth.
    std::vector<Ranks::Step> steps(static_cast<size_t>(world), {10, 88});
    Ranks below(world), above(world);
    steps.back().compute += 29;
    for (int k = 0; k < 10; ++k) EXPECT_THAT(below.Run(steps, 20), SizeIs(0)) << world;
    EXPECT_EQ(below.latest().back().score, 1290);
    steps.back().compute += 1;
    EXPECT_THAT(above.Run(steps, 20), SizeIs(0));
    EXPECT_THAT(above.Run(steps, 20), SizeIs(1)) << world;
  }
}

TEST(Stragglers, ChangesAreSaidOnceAndNotTooOften) {
  Ranks ranks(2);
  const std::vector<Ranks::Step> slow{{}, {1, 40}}, nearly{{}, {1, 13}}, equal{{}, {}};
  ranks.Run(slow, 1);
  EXPECT_THAT(ranks.Run(slow, 20), SizeIs(1));
  EXPECT_THAT(ranks.Run(slow, 20), SizeIs(0));
  EXPECT_THAT(ranks.Run(equal, 20), SizeIs(0));  // 2 s later: it may change again
  ranks.now += seconds(10);
  EXPECT_THAT(ranks.Run(nearly, 20), SizeIs(0));  // 16 of 13 ms: not yet
  EXPECT_THAT(ranks.Run(equal, 20),
              ElementsAre("rank 1 (host-1) keeps up again: 1.00 times the median rank"));
  EXPECT_THAT(ranks.Run(equal, 20), SizeIs(0));
  ranks.now += seconds(10);
  EXPECT_THAT(ranks.Run(slow, 20), SizeIs(1));
}

TEST(Stragglers, ARankThatDoesNoStepsHoldsUpTheComparison) {
  Ranks ranks(2);
  ranks.Run({{}, {1, 40}}, 0);
  EXPECT_THAT(ranks.Run({{}, {1, 40}}, 0), SizeIs(0));
  EXPECT_THAT(ranks.latest(), SizeIs(0));
}

// --- In the store
// ---------------------------------------------------------------------------------

TEST(Stragglers, HeartbeatsBringThemToTheStore) {
  Rig rig(2);
  const auto ids = rig.EnterAll();
  for (const int64_t steps : {1, 21, 41}) {
    rig.Say(ids[0], Heartbeat{{}, {steps, 0, steps * 10 * kMs, steps * 20 * kMs, 0}});
    rig.Say(ids[1], Heartbeat{{}, {steps, steps * 20 * kMs, steps * 10 * kMs, 0, 0}});
  }
  EXPECT_THAT(rig.log, HasSubstr("rank 1 (host-1) is slow: 3.00 times the median rank"));
  EXPECT_THAT(rig.log, HasSubstr("most of that is input"));
  const Reply reply = rig.Ask(ids[0], RequestKind::kPaces);
  ASSERT_THAT(reply.list, SizeIs(2));
  const std::string& entry = reply.list[1];
  const auto pace =
      Decode<RankPace>({reinterpret_cast<const uint8_t*>(entry.data()), entry.size()});
  ASSERT_TRUE(pace);
  EXPECT_EQ(pace->rank, 1);
  EXPECT_EQ(pace->score, 3000);
  EXPECT_EQ(pace->section, Section::kInput);
  EXPECT_EQ(pace->input, 20 * kMs);
  rig.hub.Advance(2, 2, rig.now);
  EXPECT_THAT(rig.Ask(rig.EnterAll()[0], RequestKind::kPaces).list, SizeIs(0));
}

}  // namespace
}  // namespace ostria::control
