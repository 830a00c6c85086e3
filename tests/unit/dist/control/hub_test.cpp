// SPDX-License-Identifier: Apache-2.0
// The hub by hand: who is refused and why, the store and meetings, by a clock that the test turns.
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
  EXPECT_THAT(rig.sent[rig.Enter(1)], HasSubstr("has left the job, and a process joins it once"));
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

}  // namespace
}  // namespace ostria::control
