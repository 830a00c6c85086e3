// SPDX-License-Identifier: Apache-2.0
// Messages as bytes: what is written is read, and what others write can neither crash the parser
// nor make it allocate what is not there.
#include "dist/control/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "dist/allocations.h"
#include "dist/control/rig.h"

namespace ostria::control {
namespace {

using ::testing::HasSubstr;
using Status = Frame::Status;

std::span<const uint8_t> AsBytes(std::string_view s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

// One valid message of every type, with and without content.
std::vector<std::string> Seeds() {
  Request request{7, RequestKind::kSet, 1500, -3, "key", std::string(300, 'v'), "old"};
  Reply reply{7, ReplyStatus::kDisagree, 5, "value", {"a", "", "ccc"}};
  Members members{{{0, "host-a", 11, {"10.0.0.1", "::1"}}, {1, "host-b", 12, {}}}};
  return {Encode(Hello{"job", Role::kRank, 1, 4, {}}, 3),
          Encode(Hello{"", Role::kLauncher, -1, 4, {}}, 1),
          Encode(Challenge{}, 3),
          Encode(Proof{{}, "host-a", 4711}, 3),
          Encode(Welcome{0, "host-a", 1}, 3),
          Encode(Refusal{Refused::kSecret, "the proof is wrong"}, 3),
          Encode(Join{9, {"10.0.0.1", "fe80::1%eth0"}}, 3),
          Encode(members, 3),
          Encode(Heartbeat{{1580, "all_reduce bucket 3", true, 12}, {12, 1, 2, 3, -4, 5}}, 3),
          Encode(HeartbeatReply(), 3),
          Encode(request, 3),
          Encode(Request(), 3),
          Encode(reply, 3),
          Encode(Lines{9, "graph", {"x = relu(y)", "", "z"}}, 3),
          Encode(Failure{{2, "host-c", 77, "no heartbeat", "#1580"}}, 3)};
}

// Decodes by type; the message as bytes again, or "" where it is damaged.
std::string Again(const Frame& frame) {
  const auto again = [&]<class T>(std::optional<T> message) {
    return message ? Encode(*message, frame.header.generation) : std::string();
  };
  switch (frame.header.type) {
    case MessageType::kHello: return again(Decode<Hello>(frame.body));
    case MessageType::kChallenge: return again(Decode<Challenge>(frame.body));
    case MessageType::kProof: return again(Decode<Proof>(frame.body));
    case MessageType::kWelcome: return again(Decode<Welcome>(frame.body));
    case MessageType::kRefusal: return again(Decode<Refusal>(frame.body));
    case MessageType::kJoin: return again(Decode<Join>(frame.body));
    case MessageType::kMembers: return again(Decode<Members>(frame.body));
    case MessageType::kHeartbeat: return again(Decode<Heartbeat>(frame.body));
    case MessageType::kHeartbeatReply: return again(Decode<HeartbeatReply>(frame.body));
    case MessageType::kRequest: return again(Decode<Request>(frame.body));
    case MessageType::kReply: return again(Decode<Reply>(frame.body));
    case MessageType::kLines: return again(Decode<Lines>(frame.body));
    case MessageType::kFailure: return again(Decode<Failure>(frame.body));
  }
  return "";
}

std::string Tail(const std::string& s, size_t from) { return s.substr(std::min(from, s.size())); }

std::string Mutated(const std::vector<std::string>& seeds, std::mt19937& random) {
  const auto below = [&](size_t n) {
    return static_cast<size_t>(random() % std::max<size_t>(n, 1));
  };
  std::string bytes = seeds[below(seeds.size())];
  for (size_t times = 1 + below(3); times > 0; --times) {
    if (bytes.empty()) break;
    const size_t at = below(bytes.size());
    switch (below(6)) {
      case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); break;
      case 1: bytes[at] = static_cast<char>(random()); break;
      case 2: bytes.resize(at); break;
      case 3: bytes.insert(at, bytes.substr(below(bytes.size()), below(64))); break;
      case 4: {  // a number that is too large
        constexpr uint32_t kNumbers[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x00100001};
        const uint32_t x = kNumbers[below(6)];
        for (size_t i = 0; i < 4 && at + i < bytes.size(); ++i) {
          bytes[at + i] = static_cast<char>(x >> (8 * i));
        }
        break;
      }
      case 5: bytes = bytes.substr(0, at) + Tail(seeds[below(seeds.size())], at / 2); break;
    }
  }
  return bytes;
}

TEST(ControlWire, WhatIsWrittenIsRead) {
  for (const std::string& seed : Seeds()) {
    const Frame frame = ParseFrame(AsBytes(seed));
    ASSERT_EQ(frame.status, Status::kComplete);
    EXPECT_EQ(Again(frame), seed) << static_cast<int>(frame.header.type);
  }
  const Request request{7, RequestKind::kAdd, 1500, -3, "key", "value", ""};
  const std::string bytes = Encode(request, 9);
  const Frame frame = ParseFrame(AsBytes(bytes));
  EXPECT_EQ(frame.header.generation, 9U);
  const auto read = Decode<Request>(frame.body);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->kind, RequestKind::kAdd);
  EXPECT_EQ(read->number, -3);
  EXPECT_EQ(read->key, "key");
}

TEST(ControlWire, APartOfAMessageIsNoMessageYet) {
  for (const std::string& seed : Seeds()) {
    for (size_t n = 0; n < seed.size(); ++n) {
      ASSERT_EQ(ParseFrame(AsBytes(seed).first(n)).status, Status::kIncomplete) << n;
    }
  }
}

TEST(ControlWire, WhatCannotBecomeAMessageIsKnownAtOnce) {
  EXPECT_EQ(ParseFrame(AsBytes("G")).status, Status::kNotOurs);
  EXPECT_EQ(ParseFrame(AsBytes("OSTGET / HTTP/1.1\r\n")).status, Status::kNotOurs);
  std::string bytes = Encode(Heartbeat(), 1);
  std::string other = bytes;
  other[4] = kVersion + 1;
  EXPECT_EQ(ParseFrame(AsBytes(other)).status, Status::kOtherVersion);
  EXPECT_EQ(ParseFrame(AsBytes(other)).header.version, kVersion + 1);
  other = bytes;
  other[6] = 99;
  EXPECT_EQ(ParseFrame(AsBytes(other)).status, Status::kBadType);
  other = bytes;
  other[11] = static_cast<char>(0xff);  // 4 GiB
  EXPECT_EQ(ParseFrame(AsBytes(other).first(12)).status, Status::kTooLong);
}

TEST(ControlWire, ARefusalIsUnderstoodInEveryVersion) {
  std::string bytes = Encode(Refusal{Refused::kVersion, "speaks version 9"}, 1);
  bytes[4] = 9;
  const Frame frame = ParseFrame(AsBytes(bytes));
  ASSERT_EQ(frame.status, Status::kComplete);
  EXPECT_EQ(Decode<Refusal>(frame.body)->text, "speaks version 9");
}

TEST(ControlWire, ALengthThatClaimsMoreThanIsThereAllocatesNothing) {
  Writer list;
  list.Number(uint64_t{1});          // id
  list.Number(uint8_t{0});           // status
  list.Number(int64_t{0});           // number
  list.Number(uint32_t{0});          // value
  list.Number(uint32_t{kMaxRanks});  // entries that are not there
  largest_allocation = 0;
  EXPECT_FALSE(Decode<Reply>(AsBytes(list.bytes)));
  EXPECT_LT(largest_allocation, 1024U);
  Writer text;
  text.Number(int32_t{0});
  text.Number(uint32_t{kMaxName});
  text.bytes += "short";
  largest_allocation = 0;
  EXPECT_FALSE(Decode<Welcome>(AsBytes(text.bytes)));
  EXPECT_LT(largest_allocation, 128U);
}

TEST(ControlWire, WhatAUserGaveTooLongIsNamed) {
  Request request;
  request.key = std::string(600, 'k');
  try {
    Encode(request, 1);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(e.what(), HasSubstr("a key of length 600; at most 512"));
  }
}

TEST(ControlWire, AHundredThousandMutationsDoNoHarm) {
  const std::vector<std::string> seeds = Seeds();
  std::mt19937 random(20'261'126);
  int complete = 0, decoded = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::string bytes = Mutated(seeds, random);
    largest_allocation = 0;
    const Frame frame = ParseFrame(AsBytes(bytes));
    if (frame.status == Status::kComplete) {
      ++complete;
      const std::string again = Again(frame);
      if (!again.empty() && frame.header.version == kVersion) {
        ++decoded;
        ASSERT_EQ(again, bytes.substr(0, frame.size())) << "one message has one form";
      }
    }
    ASSERT_LE(largest_allocation, 32 * bytes.size() + 512) << "mutation " << i;
  }
  EXPECT_GT(complete, 10'000);  // the mutations reach the bodies
  EXPECT_GT(decoded, 1'000);
  RecordProperty("complete", complete);
}

TEST(ControlWire, MutationsDoTheHubNoHarm) {
  const std::vector<std::string> seeds = Seeds();
  std::mt19937 random(7);
  Rig rig(3);
  const ConnectionId good = rig.Enter(0);
  for (int i = 0; i < 100'000; ++i) {
    const ConnectionId id = rig.Open();
    if (i % 4 == 0) {  // somebody who knows the secret, too
      rig.Greet(id, {"job", Role::kLauncher, -1, 3, {}}, 1);
      rig.Prove(id);
    }
    std::string bytes;
    for (int n = 0; n < 3; ++n) bytes += Mutated(seeds, random);
    if (bytes.size() > 16) bytes[12] = 1, bytes[13] = 0;  // of this generation
    const size_t failures = rig.hub.failures().size();
    largest_allocation = 0;
    rig.Feed(id, bytes);
    ASSERT_LE(largest_allocation, size_t{64} << 10) << "mutation " << i;
    // A launcher that knows the secret may report a rank; nobody else may.
    if (i % 4 != 0) {
      ASSERT_EQ(rig.hub.failures().size(), failures) << "mutation " << i;
    }
    rig.hub.Disconnected(id, "closed", rig.now);
    rig.Forget(id);
    rig.log.clear();
  }
  EXPECT_EQ(rig.hub.pending(), 0U);
  EXPECT_EQ(rig.Reason(good), "");
  rig.Ask(good, RequestKind::kSet, "k", "v");
  EXPECT_EQ(rig.Ask(good, RequestKind::kGet, "k").value, "v");
}

}  // namespace
}  // namespace ostria::control
