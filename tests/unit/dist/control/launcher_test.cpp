// SPDX-License-Identifier: Apache-2.0
// The hub of a job whose launcher serves it: what it knows of the ends of ranks, and generations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dist/control/rig.h"

namespace ostria::control {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(ControlLauncher, ALauncherSaysHowARankEndedBeforeOthersHearOfIt) {
  Rig rig(3, Quick(), 64, -1);
  const auto ids = rig.EnterAll();
  rig.hub.Disconnected(ids[1], "its connection closed", rig.now);
  EXPECT_THAT(rig.Got<Failure>(ids[0]), SizeIs(0));
  rig.hub.Report(1, "ended with SIGKILL", rig.now);
  EXPECT_EQ(rig.Got<Failure>(ids[0]).at(0).failure.reason, "ended with SIGKILL");
  rig.Pass(milliseconds(100), {ids[0], ids[2]});
  EXPECT_THAT(rig.hub.failures(), SizeIs(1));
}

TEST(ControlLauncher, ALauncherThatDoesNotKnowIsNotWaitedForLong) {
  Rig rig(2, Quick(), 64, -1);
  const auto ids = rig.EnterAll();
  rig.hub.Disconnected(ids[1], "its connection closed", rig.now);
  rig.Pass(milliseconds(25), {ids[0]});
  EXPECT_THAT(rig.Got<Failure>(ids[0]).at(0).failure.reason,
              HasSubstr("its connection closed without a leave"));
  rig.hub.Report(1, "ended with SIGKILL", rig.now);
  EXPECT_THAT(rig.hub.failures().at(0).reason, HasSubstr("ended with SIGKILL; its connection"));
}

TEST(ControlLauncher, ALauncherThatWasStoppedTakesTheBlame) {
  Rig rig(2, Quick(), 64, -1);
  const auto ids = rig.EnterAll();
  rig.Pass(milliseconds(50), ids);
  rig.now += milliseconds(400);
  rig.hub.Disconnected(ids[1], "its connection closed", rig.now);
  const PeerFailure failure = rig.Got<Failure>(ids[0]).at(0).failure;
  EXPECT_EQ(failure.rank, -1);
  EXPECT_EQ(failure.host, "server");
  EXPECT_THAT(failure.reason, HasSubstr("was stopped for 0.4 s"));
}

TEST(ControlLauncher, OfSeveralThatWentTheFirstIsTheCause) {
  Rig rig(4, Quick(), 64, -1);
  const auto ids = rig.EnterAll();
  rig.hub.Disconnected(ids[3], "its connection closed", rig.now);
  rig.Pass(milliseconds(10), {ids[0], ids[1], ids[2]});
  rig.hub.Disconnected(ids[1], "its connection closed", rig.now);
  rig.Pass(milliseconds(50), {ids[0], ids[2]});
  ASSERT_THAT(rig.hub.failures(), SizeIs(2));
  EXPECT_EQ(rig.hub.failures()[0].rank, 3);
  EXPECT_EQ(rig.Got<Failure>(ids[0]).at(0).failure.rank, 3);
}

TEST(ControlLauncher, TheTimeToJoinBeginsWithTheFirstRank) {
  Rig rig(2, Quick(), 64, -1);
  rig.Pass(milliseconds(5000));
  EXPECT_EQ(rig.log, "") << "a job may need no store";
  const ConnectionId id = rig.Enter(1);
  rig.Pass(milliseconds(900), {id});
  EXPECT_THAT(rig.Got<Failure>(id), SizeIs(0));
  rig.Pass(milliseconds(150), {id});
  EXPECT_THAT(rig.Got<Failure>(id).at(0).failure.reason, HasSubstr("did not join within 1 s"));
}

TEST(ControlLauncher, ALauncherHasNoHeartbeatToMiss) {
  Rig rig(1, Quick());
  const auto ids = rig.EnterAll();
  const ConnectionId launcher = rig.Open();
  rig.Greet(launcher, {"job", Role::kLauncher, -1, 1, {}}, 1);
  rig.Prove(launcher);
  rig.Pass(milliseconds(500), ids);
  EXPECT_TRUE(rig.hub.failures().empty());
  EXPECT_EQ(rig.Ask(launcher, RequestKind::kBarrier, "b").status, ReplyStatus::kRefused);
  rig.Ask(launcher, RequestKind::kFail, "", "killed by signal 9", 0);
  EXPECT_EQ(rig.Got<Failure>(ids[0]).at(0).failure.reason, "killed by signal 9");
}

TEST(ControlLauncher, ANewGenerationFencesTheOld) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Ask(ids[0], RequestKind::kSet, "k", "old");
  rig.hub.Advance(2, 3, rig.now);
  EXPECT_EQ(rig.Reason(ids[0]), "stale generation");
  EXPECT_EQ(rig.Reason(ids[1]), "stale generation");
  EXPECT_EQ(rig.Reason(rig.Enter(0, 1)), "stale generation");
  const auto fresh = rig.EnterAll();
  ASSERT_THAT(fresh, SizeIs(3));
  EXPECT_THAT(rig.Got<Members>(fresh[2]), SizeIs(1));
  EXPECT_EQ(rig.Ask(fresh[0], RequestKind::kGet, "k").status, ReplyStatus::kAbsent);
  EXPECT_TRUE(rig.hub.failures().empty());
  rig.Say(fresh[1], Heartbeat(), 1);
  EXPECT_EQ(rig.Reason(fresh[1]), "stale generation") << "every message carries its generation";
  EXPECT_THROW(rig.hub.Advance(2, 3, rig.now), Error);
}

TEST(ControlLauncher, AnOldServerLearnsThatItIsStale) {
  Rig rig(2, Quick());
  const ConnectionId old = rig.Enter(0);
  const ConnectionId id = rig.Open();
  rig.Greet(id, {"job", Role::kRank, 1, 2, {}}, 5);
  const Secret other = Secret::Generate();
  rig.Prove(id, &other);
  EXPECT_EQ(rig.Reason(id), "wrong secret");
  EXPECT_TRUE(rig.hub.failures().empty()) << "only who knows the secret can say so";
  const ConnectionId newer = rig.Open();
  rig.Greet(newer, {"job", Role::kRank, 1, 2, {}}, 5);
  rig.Prove(newer);
  EXPECT_EQ(rig.Reason(newer), "newer generation");
  EXPECT_THAT(rig.Got<Failure>(old).at(0).failure.reason, HasSubstr("generation 5 of job 'job'"));
}

}  // namespace
}  // namespace ostria::control
