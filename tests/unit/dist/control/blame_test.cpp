// SPDX-License-Identifier: Apache-2.0
// Who is blamed for what: broken and silent connections, missing progress, a store that was
// stopped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dist/control/rig.h"

namespace ostria::control {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(ControlBlame, ABrokenConnectionIsToldToAllAtOnce) {
  Rig rig(3, Quick());
  const auto ids = rig.EnterAll();
  rig.Say(ids[1], Heartbeat{{1580, "all_reduce bucket 3", true, 9}});
  rig.Begin(ids[0], RequestKind::kBarrier, "epoch");
  rig.hub.Disconnected(ids[1], "its connection closed", rig.now);
  for (const ConnectionId id : {ids[0], ids[2]}) {
    const auto failures = rig.Got<Failure>(id);
    ASSERT_THAT(failures, SizeIs(1));
    const PeerFailure& f = failures[0].failure;
    EXPECT_EQ(f.rank, 1);
    EXPECT_EQ(f.host, "host-1");
    EXPECT_EQ(f.pid, 1001);
    EXPECT_EQ(f.operation, "#1580 'all_reduce bucket 3'");
    EXPECT_THAT(f.reason, HasSubstr("closed without a leave"));
  }
  EXPECT_EQ(rig.Got<Reply>(ids[0]).at(0).status, ReplyStatus::kPeerFailed);
  // What waits for others ends, now and later; what does not goes on.
  EXPECT_EQ(rig.Ask(ids[0], RequestKind::kBarrier, "e").status, ReplyStatus::kPeerFailed);
  EXPECT_EQ(rig.Ask(ids[0], RequestKind::kGet, "k").status, ReplyStatus::kAbsent);
  EXPECT_THAT(rig.Ask(ids[0], RequestKind::kFailures).list, SizeIs(1));
}

TEST(ControlBlame, ARankThatBreaksTheProtocolIsNamedAndTheOthersGoOn) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Feed(ids[1], "garbage");
  EXPECT_EQ(rig.Reason(ids[1]), "garbage");
  rig.Pass(milliseconds(5), {ids[0]});
  EXPECT_THAT(rig.Got<Failure>(ids[0]).at(0).failure.reason, HasSubstr("refused for what it sent"));
  EXPECT_EQ(rig.Ask(ids[0], RequestKind::kSet, "k", "v").status, ReplyStatus::kOk);
}

TEST(ControlBlame, SilenceIsSuspectThenDeadAndTheStaleProcessIsFenced) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Pass(milliseconds(105), {ids[0]});
  EXPECT_THAT(rig.log, HasSubstr("rank 1 (host-1) is suspect: no heartbeat for 0.1 s"));
  EXPECT_EQ(rig.hub.members().seat(1).state, RankState::kSuspect);
  rig.Say(ids[1], Heartbeat());
  EXPECT_EQ(rig.hub.members().seat(1).state, RankState::kAlive);
  rig.Pass(milliseconds(195), {ids[0]});
  EXPECT_TRUE(rig.hub.failures().empty());
  rig.Pass(milliseconds(10), {ids[0]});
  ASSERT_THAT(rig.hub.failures(), SizeIs(1));
  EXPECT_THAT(rig.Got<Failure>(ids[0]).at(0).failure.reason, HasSubstr("no heartbeat for 0.2 s"));
  // It goes on (SIGCONT): what it sends is not heard, and what it reads is a refusal.
  EXPECT_EQ(rig.Reason(ids[1]), "stale generation");
  rig.Begin(ids[1], RequestKind::kSet, "checkpoint", "stale");
  EXPECT_EQ(rig.Ask(ids[0], RequestKind::kGet, "checkpoint").status, ReplyStatus::kAbsent);
  EXPECT_EQ(rig.Reason(rig.Enter(1)), "stale generation");
}

TEST(ControlBlame, NobodyIsLateWhileTheServerItselfWasStopped) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Pass(milliseconds(20), ids);
  rig.now += milliseconds(5000);
  rig.hub.Tick(rig.now);
  EXPECT_TRUE(rig.hub.failures().empty());
  rig.Pass(milliseconds(210), {ids[0]});
  EXPECT_THAT(rig.hub.failures(), SizeIs(1)) << "but it does not last";
}

TEST(ControlBlame, NoProgressNamesWhoDidNotEnter) {
  Rig rig(3, Quick());
  const auto ids = rig.EnterAll();
  const auto beat = [&](milliseconds time, uint64_t second, int64_t steps) {
    for (const Time end = rig.now + time; rig.now < end;) {
      rig.now += milliseconds(5);
      rig.Say(ids[0], Heartbeat{{7, "all_reduce b", true, steps}});
      rig.Say(ids[1],
              Heartbeat{{second, second == 7 ? "all_reduce b" : "broadcast", second == 7, steps}});
      rig.Say(ids[2], Heartbeat{{7, "all_reduce b", true, steps}});
      rig.hub.Tick(rig.now);
    }
  };
  beat(milliseconds(400), 6, 0);
  EXPECT_TRUE(rig.hub.failures().empty()) << "the first step may take longer";
  for (const ConnectionId id : ids) rig.Say(id, Heartbeat{{7, "all_reduce b", false, 3}});
  beat(milliseconds(290), 6, 3);
  EXPECT_TRUE(rig.hub.failures().empty());
  beat(milliseconds(20), 6, 3);
  ASSERT_THAT(rig.hub.failures(), SizeIs(1));
  const PeerFailure f = rig.hub.failures()[0];
  EXPECT_EQ(f.rank, 1);
  EXPECT_EQ(f.reason,
            "no progress for 0.3 s: rank 1 (host-1) did not enter operation #7 'all_reduce b', in "
            "which rank 0 (host-0), rank 2 (host-2) wait");
  EXPECT_EQ(f.operation, "#6 'broadcast'");
}

TEST(ControlBlame, WhatOneRankIsBusyWithMayTakeAsLongAsAFirstStep) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  const auto beat = [&](milliseconds time) {
    for (const Time end = rig.now + time; rig.now < end;) {
      rig.now += milliseconds(5);
      rig.Say(ids[0], Heartbeat{{6, "all_reduce", false, 3, "writing a checkpoint"}});
      rig.Say(ids[1], Heartbeat{{7, "broadcast", true, 3}});
      rig.hub.Tick(rig.now);
    }
  };
  const Timers timers = Quick();
  ASSERT_LT(timers.no_progress, timers.first_step);
  beat(timers.first_step - milliseconds(10));
  EXPECT_TRUE(rig.hub.failures().empty());
  beat(milliseconds(30));
  ASSERT_THAT(rig.hub.failures(), SizeIs(1));
  EXPECT_EQ(rig.hub.failures()[0].rank, 0);
  EXPECT_THAT(rig.hub.failures()[0].reason,
              HasSubstr("which rank 1 (host-1) waits; rank 0 (host-0) was busy with: writing a "
                        "checkpoint"));
}

TEST(ControlBlame, WhoIsHeardFirstAfterALongWaitDoesNotMakeTheOthersLate) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  const Timers timers = Quick();
  const auto beat = [&](Progress first, milliseconds time) {
    for (const Time end = rig.now + time; rig.now < end;) {
      rig.now += milliseconds(5);
      rig.Say(ids[0], Heartbeat{first});
      rig.Say(ids[1], Heartbeat{{7, "broadcast", true, 3}});
      rig.hub.Tick(rig.now);
    }
  };
  beat({6, "all_reduce", false, 3, "writing a checkpoint"}, timers.no_progress * 2);
  // It is done, and both went on: rank 1 has not said so yet.
  beat({90, "all_reduce", false, 9}, timers.no_progress - milliseconds(10));
  EXPECT_TRUE(rig.hub.failures().empty());
  beat({90, "all_reduce", false, 9}, milliseconds(30));  // that it does not say so is an error
  ASSERT_THAT(rig.hub.failures(), SizeIs(1));
  EXPECT_THAT(rig.hub.failures()[0].reason, HasSubstr("'broadcast' does not end on rank 1"));
}

TEST(ControlBlame, AnOperationThatAllEnteredAndNoneLeavesIsNamed) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  for (int i = 0; i < 70; ++i) {
    rig.now += milliseconds(5);
    for (const ConnectionId id : ids) rig.Say(id, Heartbeat{{9, "barrier", true, 1}});
    rig.hub.Tick(rig.now);
  }
  ASSERT_THAT(rig.hub.failures(), SizeIs(1));
  EXPECT_THAT(rig.hub.failures()[0].reason, HasSubstr("'barrier' does not end on rank 0"));
}

TEST(ControlBlame, WhoLeftCannotEnterAndIsNamedAtOnce) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Say(ids[1], Heartbeat{{8, "all_reduce", false, 1}});
  rig.Ask(ids[1], RequestKind::kLeave);
  rig.Say(ids[0], Heartbeat{{8, "all_reduce", true, 1}});
  rig.hub.Tick(rig.now);
  EXPECT_TRUE(rig.hub.failures().empty());
  rig.Say(ids[0], Heartbeat{{9, "all_reduce", true, 1}});
  rig.hub.Tick(rig.now);
  ASSERT_THAT(rig.hub.failures(), SizeIs(1));
  EXPECT_THAT(rig.hub.failures()[0].reason, HasSubstr("rank 1 (host-1) left the job without"));
}

TEST(ControlBlame, TheRootCauseIsWhoFailedFirstByItself) {
  Rig rig(4, Quick());
  const auto ids = rig.EnterAll();
  rig.Ask(ids[2], RequestKind::kFail, "", "connection reset by rank 1", 1, "all_reduce");
  EXPECT_THAT(rig.Got<Failure>(ids[0]), SizeIs(0)) << "its cause may be on its way";
  rig.Ask(ids[1], RequestKind::kFail, "", "ValueError: shapes differ", 0, "step 12");
  rig.Ask(ids[3], RequestKind::kFail, "", "another", 0);
  const auto failures = rig.hub.failures();
  ASSERT_THAT(failures, SizeIs(3));
  EXPECT_EQ(failures[0].rank, 1);
  EXPECT_EQ(failures[0].reason, "ValueError: shapes differ");
  EXPECT_EQ(failures[0].operation, "step 12");
  EXPECT_EQ(rig.Got<Failure>(ids[0]).at(0).failure.rank, 1);
  rig.hub.Disconnected(ids[1], "its connection closed", rig.now);
  EXPECT_THAT(rig.hub.failures(), SizeIs(3)) << "who told why it fails is not told again";
  rig.hub.Report(1, "killed by signal 9", rig.now);
  EXPECT_EQ(rig.hub.failures()[0].reason, "killed by signal 9; ValueError: shapes differ");
}

// A store that was stopped for `pause`; rank 1 ends `later`, before the hub's next tick or not.
std::vector<PeerFailure> AfterAPause(milliseconds pause, bool ticks, milliseconds later = {}) {
  Rig rig(3, Quick());
  const auto ids = rig.EnterAll();
  rig.Pass(milliseconds(50), ids);
  rig.now += pause;
  if (ticks) rig.hub.Tick(rig.now);
  EXPECT_TRUE(rig.hub.failures().empty()) << "the others may have been stopped as well";
  rig.Pass(later, ids);
  rig.hub.Disconnected(ids[1], "its connection closed", rig.now);
  const auto failures = rig.hub.failures();
  EXPECT_EQ(rig.Got<Failure>(ids[2]).at(0).failure.rank, failures.at(0).rank);
  return failures;
}

TEST(ControlBlame, AStoreThatWasStoppedTakesTheBlameOfWhoGaveItUp) {
  for (const bool ticks : {false, true}) {
    const auto failures = AfterAPause(milliseconds(250), ticks);
    ASSERT_THAT(failures, SizeIs(2));
    EXPECT_EQ(failures[0].rank, 0);
    EXPECT_EQ(failures[0].host, "host-0");
    EXPECT_EQ(failures[0].reason,
              "it serves the store, and was stopped for 0.25 s; the others give it up after 0.2 s");
  }
}

TEST(ControlBlame, WhoEndsAfterAShortPauseOrLongAfterOneEndsByItself) {
  for (const bool ticks : {false, true}) {
    EXPECT_EQ(AfterAPause(milliseconds(190), ticks).at(0).rank, 1) << "nobody gives up so soon";
  }
  EXPECT_EQ(AfterAPause(milliseconds(250), true, milliseconds(150)).at(0).rank, 0);
  EXPECT_EQ(AfterAPause(milliseconds(250), true, milliseconds(300)).at(0).rank, 1);
}

TEST(ControlBlame, AConsequenceWithoutACauseIsToldAfterAHeartbeat) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Ask(ids[1], RequestKind::kFail, "", "connection reset", 1);
  rig.Pass(milliseconds(15), ids);
  EXPECT_THAT(rig.Got<Failure>(ids[0]), SizeIs(0));
  rig.Pass(milliseconds(10), ids);
  EXPECT_EQ(rig.Got<Failure>(ids[0]).at(0).failure.rank, 1);
}

TEST(ControlBlame, RanksThatWaitForEachOtherInDifferentPlacesAreTold) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Begin(ids[0], RequestKind::kAgree, "graph 3", "hash", 0, 60'000);
  rig.Pass(milliseconds(500), ids);
  EXPECT_TRUE(rig.hub.failures().empty()) << "the other one computes";
  const auto inside = [&](milliseconds time) {
    for (const Time end = rig.now + time; rig.now < end;) {
      rig.Say(ids[1], Heartbeat{{7, "all_reduce of x", true, 5}});
      rig.Pass(milliseconds(5), {ids[0]});
    }
  };
  inside(milliseconds(90));
  EXPECT_TRUE(rig.hub.failures().empty());
  inside(milliseconds(30));
  EXPECT_THAT(rig.Got<Failure>(ids[1]).at(0).failure.reason,
              AllOf(HasSubstr("rank 0 (host-0) in agree 'graph 3'"),
                    HasSubstr("rank 1 (host-1) in operation #7 'all_reduce of x'")));
}

TEST(ControlBlame, AMeetingThatTheLastRankIsOnItsWayToIsNoCrossing) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Begin(ids[0], RequestKind::kBarrier, "end", "", 0, 60'000);
  rig.Say(ids[1], Heartbeat{{7, "all_reduce of x", true, 5}});
  rig.Pass(milliseconds(20), {ids[0]});
  rig.Pass(milliseconds(250), ids);  // it has left the operation, and computes
  rig.Begin(ids[1], RequestKind::kBarrier, "end", "", 0, 60'000);
  EXPECT_EQ(rig.Got<Reply>(ids[0]).at(0).status, ReplyStatus::kOk);
  EXPECT_TRUE(rig.hub.failures().empty());
}

}  // namespace
}  // namespace ostria::control
