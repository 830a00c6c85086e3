// SPDX-License-Identifier: Apache-2.0
// The hub by hand: who is refused and why, meetings, and failures by a clock that the test turns.
#include "dist/control/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "dist/control/rig.h"

namespace ostria::control {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// --- Who is refused
// -------------------------------------------------------------------------------

TEST(ControlHub, WhoKnowsTheSecretIsWelcome) {
  Rig rig(2);
  const ConnectionId id = rig.Enter(1);
  const auto welcome = rig.Got<Welcome>(id);
  ASSERT_THAT(welcome, SizeIs(1));
  EXPECT_EQ(welcome[0].rank, 0);
  EXPECT_EQ(welcome[0].pid, 99);
  EXPECT_EQ(rig.hub.members().seat(1).member.host, "host-1");
  EXPECT_EQ(rig.hub.pending(), 0U);
}

TEST(ControlHub, TheServerProvesItselfToo) {
  Rig rig(2);
  const ConnectionId id = rig.Open();
  const Hello hello{"job", Role::kRank, 1, 2, RandomNonce()};
  rig.Greet(id, hello, 1);
  const auto challenge = rig.Got<Challenge>(id);
  ASSERT_THAT(challenge, SizeIs(1));
  const auto transcript = Transcript(Side::kServer, hello, 1, challenge[0].nonce);
  EXPECT_TRUE(rig.secret.Verify(challenge[0].mac, transcript));
  EXPECT_FALSE(Secret::Generate().Verify(challenge[0].mac, transcript));
}

TEST(ControlHub, RefusesByName) {
  Rig rig(2);
  const ConnectionId good = rig.Enter(0);
  const Hello hello{"job", Role::kRank, 1, 2, {}};
  const auto greeted = [&](const Hello& h, uint32_t generation) {
    const ConnectionId id = rig.Open();
    rig.Greet(id, h, generation);
    return id;
  };
  ConnectionId id = greeted(hello, 1);
  const Secret other = Secret::Generate();
  rig.Prove(id, &other);
  EXPECT_EQ(rig.Reason(id), "wrong secret");
  EXPECT_EQ(rig.Reason(greeted({"job2", Role::kRank, 1, 2, {}}, 1)), "another job");
  EXPECT_EQ(rig.Reason(greeted({"job", Role::kRank, 2, 2, {}}, 1)), "no such rank");
  EXPECT_EQ(rig.Reason(greeted({"job", Role::kRank, 1, 3, {}}, 1)), "no such rank");
  id = rig.Open();
  rig.Feed(id, "GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(rig.Reason(id), "garbage");
  id = rig.Open();
  std::string bytes = Encode(hello, 1);
  bytes[4] = 7;
  rig.Feed(id, bytes);
  EXPECT_EQ(rig.Reason(id), "protocol version");
  id = rig.Open();
  rig.Say(id, Heartbeat());
  EXPECT_EQ(rig.Reason(id), "protocol error");
  rig.Begin(id, RequestKind::kSet, "k", "v");  // nobody is there any more
  id = greeted({"job", Role::kRank, 0, 2, {}}, 1);
  rig.Prove(id);
  EXPECT_EQ(rig.Reason(id), "rank is taken");

  EXPECT_EQ(rig.hub.pending(), 0U);
  EXPECT_TRUE(rig.hub.failures().empty());
  EXPECT_EQ(rig.Ask(good, RequestKind::kGet, "k").status, ReplyStatus::kAbsent);
  EXPECT_THAT(rig.log, Not(HasSubstr(rig.secret.Hex())));
}

TEST(ControlHub, ManyRefusalsAreFewLinesOfLog) {
  Rig rig(1);
  for (int i = 0; i < 1000; ++i) rig.Feed(rig.Open(), "GET /");
  EXPECT_EQ(rig.hub.refusals().at(Refused::kGarbage), 1000);
  EXPECT_EQ(std::count(rig.log.begin(), rig.log.end(), '\n'), 10) << rig.log;
  EXPECT_THAT(rig.log, HasSubstr("refused peer 512 (garbage, no. 512): these bytes"));
}

TEST(ControlHub, WhoLeavesAtTheProofIsToldToThoseThatWaitForIt) {
  Rig rig(2);
  rig.Enter(0);
  const ConnectionId id = rig.Open();
  rig.Greet(id, {"job", Role::kRank, 1, 2, {}}, 1);
  rig.hub.Disconnected(id, "its connection closed", rig.now);
  EXPECT_EQ(rig.hub.refusals().at(Refused::kSecret), 1);
  EXPECT_THAT(rig.log, HasSubstr("(wrong secret, no. 1): rank 1 of job 'job' left"));
  EXPECT_THAT(rig.log, HasSubstr("give all processes the same one"));
}

TEST(ControlHub, StrangersLearnNothingOfAFailure) {
  Rig rig(2);
  const ConnectionId good = rig.Enter(0);
  rig.Ask(good, RequestKind::kFail, "", "ValueError: private");
  const ConnectionId id = rig.Open();
  rig.Greet(id, {"job", Role::kRank, 1, 2, {}}, 1);
  EXPECT_THAT(rig.sent[id], Not(HasSubstr("private")));
  const Secret other = Secret::Generate();
  rig.Prove(id, &other);
  EXPECT_THAT(rig.sent[id], AllOf(HasSubstr("another secret"), Not(HasSubstr("private"))));
  EXPECT_THAT(rig.sent[rig.Enter(1)], HasSubstr("ValueError: private"));
}

TEST(ControlHub, AProofServesOnceOnly) {
  Rig rig(2);
  const ConnectionId first = rig.Open();
  const Hello hello{"job", Role::kRank, 1, 2, {}};
  rig.Greet(first, hello, 1);
  const auto nonce = rig.Got<Challenge>(first)[0].nonce;
  const Proof proof{rig.secret.Hmac(Transcript(Side::kClient, hello, 1, nonce)), "h", 1};
  const ConnectionId second = rig.Open();
  rig.Greet(second, hello, 1);
  rig.Say(second, proof);
  EXPECT_EQ(rig.Reason(second), "wrong secret");
  rig.Say(first, proof);
  EXPECT_THAT(rig.Got<Welcome>(first), SizeIs(1));
}

TEST(ControlHub, BeforeTheHandshakeNothingLongIsKept) {
  Rig rig(1);
  const ConnectionId id = rig.Open();
  std::string bytes = Encode(Lines{1, "n", {std::string(300, 'x')}}, 1);
  bytes[10] = 0x0f;  // a million bytes to come
  rig.Feed(id, bytes.substr(0, 12));
  EXPECT_EQ(rig.Reason(id), "protocol error");
}

TEST(ControlHub, SilentConnectionsEndAndMakeRoom) {
  Rig rig(1, Quick(), 3);
  const ConnectionId good = rig.Enter(0);
  const ConnectionId first = rig.Open();
  rig.Open();
  rig.Open();
  EXPECT_FALSE(rig.hub.MayAccept(rig.now));
  rig.Pass(milliseconds(200), {good});
  EXPECT_EQ(rig.Reason(first), "silent connection");
  EXPECT_EQ(rig.hub.pending(), 0U);
  EXPECT_TRUE(rig.hub.MayAccept(rig.now));
}

TEST(ControlHub, TheOldestThatDawdlesMakesRoom) {
  Rig rig(1, {}, 2);
  const ConnectionId first = rig.Open();
  rig.now += milliseconds(600);
  rig.Open();
  EXPECT_TRUE(rig.hub.MayAccept(rig.now));
  EXPECT_EQ(rig.Reason(first), "too many connections");
  EXPECT_EQ(rig.hub.pending(), 1U);
}

// --- Store
// ----------------------------------------------------------------------------------------

TEST(ControlHub, StoresValues) {
  Rig rig(1);
  const ConnectionId id = rig.Enter(0);
  EXPECT_EQ(rig.Ask(id, RequestKind::kGet, "a").status, ReplyStatus::kAbsent);
  rig.Ask(id, RequestKind::kSet, "a", "1");
  EXPECT_EQ(rig.Ask(id, RequestKind::kGet, "a").value, "1");
  EXPECT_EQ(rig.Ask(id, RequestKind::kAdd, "a", "", 41).number, 42);
  EXPECT_EQ(rig.Ask(id, RequestKind::kAdd, "n", "", -1).number, -1);
  rig.Ask(id, RequestKind::kSet, "text", "abc");
  const Reply refused = rig.Ask(id, RequestKind::kAdd, "text", "", 1);
  EXPECT_EQ(refused.status, ReplyStatus::kRefused);
  EXPECT_THAT(refused.value, HasSubstr("no number"));
  rig.Ask(id, RequestKind::kSet, "big", "9223372036854775807");
  EXPECT_THAT(rig.Ask(id, RequestKind::kAdd, "big", "", 1).value, HasSubstr("overflows"));
}

TEST(ControlHub, TheStoreHasAnEnd) {
  Store store;
  const std::string mega(kMaxValue, 'x');
  size_t n = 0;
  try {
    for (; n < 1000; ++n) store.Set(StrCat(n), mega);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(n, 255U);
    EXPECT_THAT(e.what(), HasSubstr("the store is full"));
  }
  store.Set("7", "small");  // what makes room is allowed
  store.Set("another", mega.substr(1000));
}

TEST(ControlHub, AGetWaitsForItsValueOrItsDeadline) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Begin(ids[0], RequestKind::kGet, "k", "", 1);
  EXPECT_THAT(rig.Got<Reply>(ids[0]), SizeIs(0));
  rig.Ask(ids[1], RequestKind::kSet, "k", "v");
  EXPECT_EQ(rig.Got<Reply>(ids[0]).at(0).value, "v");
  rig.Begin(ids[0], RequestKind::kGet, "never", "", 1);
  rig.Pass(milliseconds(95), ids);
  EXPECT_THAT(rig.Got<Reply>(ids[0]), SizeIs(0));
  rig.Pass(milliseconds(10), ids);
  const auto replies = rig.Got<Reply>(ids[0]);
  ASSERT_THAT(replies, SizeIs(1));
  EXPECT_EQ(replies[0].status, ReplyStatus::kTimeout);
  EXPECT_THAT(replies[0].value, HasSubstr("nobody set it within 0.1 s"));
}

// --- Meetings
// -------------------------------------------------------------------------------------

TEST(ControlHub, ABarrierWaitsForAllAndNamesTheMissing) {
  Rig rig(3, Quick());
  const auto ids = rig.EnterAll();
  for (int round = 0; round < 2; ++round) {
    for (const ConnectionId id : ids) {
      EXPECT_THAT(rig.Got<Reply>(ids[0]), SizeIs(0));
      rig.Begin(id, RequestKind::kBarrier, "epoch");
    }
    for (const ConnectionId id : ids) EXPECT_EQ(rig.Got<Reply>(id).at(0).status, ReplyStatus::kOk);
  }
  rig.Begin(ids[1], RequestKind::kBarrier, "epoch");
  rig.Pass(milliseconds(110), ids);
  const auto replies = rig.Got<Reply>(ids[1]);
  ASSERT_THAT(replies, SizeIs(1));
  EXPECT_EQ(replies[0].status, ReplyStatus::kTimeout);
  EXPECT_EQ(replies[0].value,
            "within 0.1 s 2 of 3 ranks did not come: rank 0 (host-0), rank 2 (host-2)");
}

TEST(ControlHub, WhoLeavesEndsMeetingsAndIsNoFailure) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Begin(ids[0], RequestKind::kBarrier, "epoch");
  EXPECT_EQ(rig.Ask(ids[1], RequestKind::kLeave).status, ReplyStatus::kOk);
  EXPECT_THAT(rig.Got<Reply>(ids[0]).at(0).value, HasSubstr("rank 1 (host-1) has left the job"));
  rig.hub.Disconnected(ids[1], "closed", rig.now);
  rig.Pass(milliseconds(400), {ids[0]});
  EXPECT_TRUE(rig.hub.failures().empty());
  EXPECT_FALSE(rig.hub.everybody_left());
  rig.Ask(ids[0], RequestKind::kLeave);
  EXPECT_TRUE(rig.hub.everybody_left());
}

TEST(ControlHub, WhoJoinsAfterAnotherLeftIsToldAtOnce) {
  Rig rig(2, Quick());
  const ConnectionId a = rig.Enter(0), b = rig.Enter(1);
  rig.Say(a, Join{7, {}});
  EXPECT_EQ(rig.Ask(a, RequestKind::kLeave).status, ReplyStatus::kOk);
  rig.Say(b, Join{8, {}});
  const auto replies = rig.Got<Reply>(b);
  ASSERT_THAT(replies, SizeIs(1));
  EXPECT_THAT(replies[0].value, HasSubstr("rank 0 (host-0) has left the job"));
  rig.Pass(milliseconds(5000), {b});  // beyond the time to join
}

TEST(ControlHub, EqualFingerprintsAgree) {
  Rig rig(3, Quick());
  const auto ids = rig.EnterAll();
  for (const ConnectionId id : ids) rig.Begin(id, RequestKind::kAgree, "graph", "hash");
  for (const ConnectionId id : ids) EXPECT_EQ(rig.Got<Reply>(id).at(0).status, ReplyStatus::kOk);
}

TEST(ControlHub, ADifferenceShowsTheFirstLinePerRank) {
  Rig rig(4, Quick());
  const auto ids = rig.EnterAll();
  std::vector<uint64_t> asked;
  for (int r = 0; r < 4; ++r) {
    asked.push_back(rig.Begin(ids[r], RequestKind::kAgree, "graph", r == 2 ? "other" : "hash"));
  }
  // One rank of each kind is asked for its lines.
  for (int r = 0; r < 4; ++r) {
    const auto replies = rig.Got<Reply>(ids[r]);
    if (r == 1 || r == 3) {
      EXPECT_THAT(replies, SizeIs(0));
    } else {
      EXPECT_EQ(replies.at(0).status, ReplyStatus::kSendLines);
    }
  }
  rig.Say(ids[0], Lines{asked[0], "graph", {"x", "y = relu(x)", "z"}});
  rig.Say(ids[2], Lines{asked[2], "graph", {"x", "y = gelu(x)", "z"}});
  for (const ConnectionId id : ids) {
    const auto replies = rig.Got<Reply>(id);
    ASSERT_THAT(replies, SizeIs(1));
    EXPECT_EQ(replies[0].status, ReplyStatus::kDisagree);
    EXPECT_THAT(replies[0].value,
                AllOf(HasSubstr("first at line 2"),
                      HasSubstr("rank 0 (host-0), rank 1 (host-1), rank 3 (host-3): `y = relu(x)`"),
                      HasSubstr("rank 2 (host-2): `y = gelu(x)`")));
  }
}

TEST(ControlHub, ADifferenceNeedsNotWaitForEverybody) {
  Rig rig(3, Quick());
  const auto ids = rig.EnterAll();
  rig.Begin(ids[0], RequestKind::kAgree, "graph", "a", 0, 5000);
  rig.Begin(ids[1], RequestKind::kAgree, "graph", "b", 0, 5000);
  rig.Pass(milliseconds(100), ids);  // two heartbeats for the third, two for the lines
  for (int r = 0; r < 2; ++r) {
    const auto replies = rig.Got<Reply>(ids[r]);
    ASSERT_THAT(replies, SizeIs(2));
    EXPECT_EQ(replies[1].status, ReplyStatus::kDisagree);
    EXPECT_THAT(replies[1].value, HasSubstr("lines not known"));
  }
  EXPECT_EQ(rig.Ask(ids[2], RequestKind::kAgree, "graph", "a").status, ReplyStatus::kDisagree);
}

// --- Join
// -----------------------------------------------------------------------------------------

TEST(ControlHub, AllGetTheMembersWhenTheLastHasJoined) {
  Rig rig(2, Quick());
  const ConnectionId a = rig.Enter(0), b = rig.Enter(1);
  rig.Say(a, Join{1, {"10.0.0.1"}});
  EXPECT_THAT(rig.Got<Members>(a), SizeIs(0));
  rig.Say(b, Join{1, {"10.0.0.2", "::1"}});
  for (const ConnectionId id : {a, b}) {
    const auto members = rig.Got<Members>(id);
    ASSERT_THAT(members, SizeIs(1));
    EXPECT_EQ(members[0].members[1].host, "host-1");
    EXPECT_EQ(members[0].members[1].pid, 1001);
    EXPECT_THAT(members[0].members[1].addresses, ElementsAre("10.0.0.2", "::1"));
  }
}

TEST(ControlHub, TheMissingAreReportedAndThenGivenUp) {
  Rig rig(3, Quick());
  const ConnectionId a = rig.Enter(0);
  rig.Say(a, Join{1, {}});
  rig.Pass(milliseconds(250), {a});
  EXPECT_THAT(rig.log, AllOf(HasSubstr("2 of 3 ranks have not joined: rank 1, rank 2; joined: "
                                       "rank 0 (host-0); waiting since 0.1 s of 1 s"),
                             HasSubstr("waiting since 0.2 s")));
  rig.Pass(milliseconds(760), {a});
  const auto failures = rig.Got<Failure>(a);
  ASSERT_THAT(failures, SizeIs(1));
  EXPECT_EQ(failures[0].failure.rank, 1);
  EXPECT_THAT(failures[0].failure.reason, HasSubstr("did not join within 1 s"));
  EXPECT_EQ(rig.Got<Reply>(a).at(0).status, ReplyStatus::kPeerFailed);
  const ConnectionId late = rig.Enter(1);
  EXPECT_EQ(rig.Reason(late), "stale generation");
}

// --- Failures
// -------------------------------------------------------------------------------------

TEST(ControlHub, ABrokenConnectionIsToldToAllAtOnce) {
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

TEST(ControlHub, ARankThatBreaksTheProtocolIsNamedAndTheOthersGoOn) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Feed(ids[1], "garbage");
  EXPECT_EQ(rig.Reason(ids[1]), "garbage");
  rig.Pass(milliseconds(5), {ids[0]});
  EXPECT_THAT(rig.Got<Failure>(ids[0]).at(0).failure.reason, HasSubstr("refused for what it sent"));
  EXPECT_EQ(rig.Ask(ids[0], RequestKind::kSet, "k", "v").status, ReplyStatus::kOk);
}

TEST(ControlHub, SilenceIsSuspectThenDeadAndTheStaleProcessIsFenced) {
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

TEST(ControlHub, NobodyIsLateWhileTheServerItselfWasStopped) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Pass(milliseconds(20), ids);
  rig.now += milliseconds(5000);
  rig.hub.Tick(rig.now);
  EXPECT_TRUE(rig.hub.failures().empty());
  rig.Pass(milliseconds(210), {ids[0]});
  EXPECT_THAT(rig.hub.failures(), SizeIs(1)) << "but it does not last";
}

TEST(ControlHub, NoProgressNamesWhoDidNotEnter) {
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

TEST(ControlHub, WhatOneRankIsBusyWithMayTakeAsLongAsAFirstStep) {
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

TEST(ControlHub, WhoIsHeardFirstAfterALongWaitDoesNotMakeTheOthersLate) {
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

TEST(ControlHub, AnOperationThatAllEnteredAndNoneLeavesIsNamed) {
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

TEST(ControlHub, WhoLeftCannotEnterAndIsNamedAtOnce) {
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

TEST(ControlHub, TheRootCauseIsWhoFailedFirstByItself) {
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

TEST(ControlHub, AConsequenceWithoutACauseIsToldAfterAHeartbeat) {
  Rig rig(2, Quick());
  const auto ids = rig.EnterAll();
  rig.Ask(ids[1], RequestKind::kFail, "", "connection reset", 1);
  rig.Pass(milliseconds(15), ids);
  EXPECT_THAT(rig.Got<Failure>(ids[0]), SizeIs(0));
  rig.Pass(milliseconds(10), ids);
  EXPECT_EQ(rig.Got<Failure>(ids[0]).at(0).failure.rank, 1);
}

TEST(ControlHub, RanksThatWaitForEachOtherInDifferentPlacesAreTold) {
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

TEST(ControlHub, AMeetingThatTheLastRankIsOnItsWayToIsNoCrossing) {
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
