// SPDX-License-Identifier: Apache-2.0
// What client and server of the control channel say to each other. Each message lists its fields
// once (Fields), with the cap of every text and list; wire.h turns that into bytes and back.
#pragma once

#include <string>
#include <vector>

#include "dist/control/peer_failure.h"
#include "dist/control/secret.h"
#include "dist/control/wire.h"

namespace ostria::control {

inline constexpr size_t kMaxName = 255;  // hosts, jobs, addresses
inline constexpr size_t kMaxKey = 512;   // keys of the store, names of barriers
inline constexpr size_t kMaxValue = 1 << 20;
inline constexpr size_t kMaxRanks = 8192;
inline constexpr size_t kMaxAddresses = 4;
inline constexpr size_t kMaxOperation = 200;
inline constexpr size_t kMaxReason = 4096;

/// `text`, cut to `cap` bytes with a mark where it was longer.
std::string Clip(std::string_view text, size_t cap);

enum class Role : uint8_t {
  kRank,
  kLauncher
};  // a launcher has no rank and no heartbeat is missed

struct Hello {
  static constexpr auto kType = MessageType::kHello;
  std::string job;
  Role role = Role::kRank;
  int32_t rank = -1, world = 0;
  Nonce nonce{};
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Text(m.job, kMaxName, "the job's id");
    a.Enum(m.role, Role::kLauncher);
    a.Number(m.rank);
    a.Number(m.world);
    a.Raw(m.nonce);
  }
};

struct Challenge {
  static constexpr auto kType = MessageType::kChallenge;
  Mac mac{};
  Nonce nonce{};
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Raw(m.mac);
    a.Raw(m.nonce);
  }
};

struct Proof {
  static constexpr auto kType = MessageType::kProof;
  Mac mac{};
  std::string host;
  int64_t pid = 0;
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Raw(m.mac);
    a.Text(m.host, kMaxName, "the host's name");
    a.Number(m.pid);
  }
};

/// Who serves: what a client names when the server is gone.
struct Welcome {
  static constexpr auto kType = MessageType::kWelcome;
  int32_t rank = -1;
  std::string host;
  int64_t pid = 0;
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Number(m.rank);
    a.Text(m.host, kMaxName, "the host's name");
    a.Number(m.pid);
  }
};

enum class Refused : uint16_t {
  kGarbage,     // no message of this protocol
  kVersion,     // of the protocol
  kJob,         // another job's id
  kSecret,      // its proof is wrong
  kGeneration,  // it is of one that is over
  kNewer,       // the server is
  kRank,        // none of this job
  kTaken,       // somebody alive has this rank
  kSilent,      // it did not finish the handshake in time
  kCrowded,     // too many others that have not finished either
  kProtocol,    // a message that does not belong here
  kClosing,     // the server ends
};
inline constexpr auto kLastRefused = Refused::kClosing;
std::string_view ToString(Refused reason);

struct Refusal {
  static constexpr auto kType = MessageType::kRefusal;
  Refused reason = Refused::kGarbage;
  std::string text;
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Enum(m.reason, kLastRefused);
    a.Text(m.text, 2048, "a refusal");
  }
};

struct Join {
  static constexpr auto kType = MessageType::kJoin;
  uint64_t id = 0;
  std::vector<std::string> addresses;
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Number(m.id);
    a.List(m.addresses, kMaxAddresses, "addresses",
           [](A& x, auto& text) { x.Text(text, kMaxName, "an address"); });
  }
};

struct Member {
  int32_t rank = -1;
  std::string host;
  int64_t pid = 0;
  std::vector<std::string> addresses;
};

struct Members {
  static constexpr auto kType = MessageType::kMembers;
  std::vector<Member> members;
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.List(m.members, kMaxRanks, "members", [](A& x, auto& member) {
      x.Number(member.rank);
      x.Text(member.host, kMaxName, "the host's name");
      x.Number(member.pid);
      x.List(member.addresses, kMaxAddresses, "addresses",
             [](A& y, auto& text) { y.Text(text, kMaxName, "an address"); });
    });
  }
};

struct Progress {
  uint64_t number = 0;  // of the last collective that was entered
  std::string name;
  bool inside = false;  // and not yet left
  int64_t steps = 0;    // that have ended
  std::string busy;     // with what this rank alone does, while the others wait for it
};

/// What a rank's steps took so far, in nanoseconds; see step_clock.h.
struct Pace {
  int64_t steps = 0;
  int64_t input = 0;    // waiting for data
  int64_t compute = 0;  // in steps, outside of collectives
  int64_t comm = 0;     // in collectives, waiting for other ranks included
  int64_t between = 0;  // what else the program did between steps
  int64_t ahead = 0;    // beside all that: reading ahead
};

struct Heartbeat {
  static constexpr auto kType = MessageType::kHeartbeat;
  Progress progress;
  Pace pace{};
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Number(m.progress.number);
    a.Text(m.progress.name, kMaxOperation, "an operation's name");
    a.Flag(m.progress.inside);
    a.Number(m.progress.steps);
    a.Text(m.progress.busy, kMaxOperation, "what a rank is busy with");
    a.Number(m.pace.steps);
    a.Number(m.pace.input);
    a.Number(m.pace.compute);
    a.Number(m.pace.comm);
    a.Number(m.pace.between);
    a.Number(m.pace.ahead);
  }
};

enum class Section : uint8_t { kInput, kCompute, kComm, kBetween };
std::string_view ToString(Section section);

/// A rank among the others, over one window of steps: nanoseconds of a step, as in Pace; but input
/// is what would be waited for if the rank waited for nothing else.
struct RankPace {
  int32_t rank = -1;
  int64_t steps = 0, input = 0, compute = 0, comm = 0, between = 0;
  int64_t own = 0;                      // of a step, if the rank had to wait for nobody
  int64_t score = 0;                    // thousandths of the median rank's
  Section section = Section::kCompute;  // where it takes most in excess of the median
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Number(m.rank);
    a.Number(m.steps);
    a.Number(m.input);
    a.Number(m.compute);
    a.Number(m.comm);
    a.Number(m.between);
    a.Number(m.own);
    a.Number(m.score);
    a.Enum(m.section, Section::kBetween);
  }
};

struct HeartbeatReply {
  static constexpr auto kType = MessageType::kHeartbeatReply;
  template <class A, class M>
  static void Fields(A&, M&) {}
};

enum class RequestKind : uint8_t {
  kSet,       // key, value
  kGet,       // key; number = 0: now, 1: wait until there is one
  kAdd,       // key, number; the value is its decimal text
  kBarrier,   // key: its name
  kAgree,     // key: its name, value: the fingerprint
  kFail,      // value: reason, operation; number = 1: another one's failure was the cause
  kFailures,  // all so far, root cause first
  kLeave,     // this rank is done
  kPaces,     // of all ranks, a RankPace each
};

struct Request {
  static constexpr auto kType = MessageType::kRequest;
  uint64_t id = 0;
  RequestKind kind = RequestKind::kSet;
  int64_t timeout_ms = 0;
  int64_t number = 0;
  std::string key, value, operation;
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Number(m.id);
    a.Enum(m.kind, RequestKind::kPaces);
    a.Number(m.timeout_ms);
    a.Number(m.number);
    a.Text(m.key, kMaxKey, "a key");
    a.Text(m.value, kMaxValue, "a value");
    a.Text(m.operation, kMaxOperation, "an operation's name");
  }
};

enum class ReplyStatus : uint8_t {
  kOk,
  kAbsent,      // there is no such key
  kRefused,     // `value` says why: not a number, store full
  kTimeout,     // `value` says who is missing
  kSendLines,   // fingerprints differ, and this rank's lines are wanted
  kDisagree,    // `value` shows the first line that differs
  kPeerFailed,  // a failure was announced
};

struct Reply {
  static constexpr auto kType = MessageType::kReply;
  uint64_t id = 0;
  ReplyStatus status = ReplyStatus::kOk;
  int64_t number = 0;
  std::string value;
  std::vector<std::string> list;
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Number(m.id);
    a.Enum(m.status, ReplyStatus::kPeerFailed);
    a.Number(m.number);
    a.Text(m.value, kMaxValue, "a value");
    a.List(m.list, kMaxRanks, "a list", [](A& x, auto& text) { x.Text(text, 8192, "an entry"); });
  }
};

struct Lines {
  static constexpr auto kType = MessageType::kLines;
  uint64_t id = 0;  // of the request
  std::string name;
  std::vector<std::string> lines;
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Number(m.id);
    a.Text(m.name, kMaxKey, "a name");
    a.List(m.lines, kMaxLines, "lines", [](A& x, auto& text) { x.Text(text, kMaxLine, "a line"); });
  }
  static constexpr size_t kMaxLine = 400, kMaxLines = 40'000;
};

struct Failure {
  static constexpr auto kType = MessageType::kFailure;
  PeerFailure failure;
  template <class A, class M>
  static void Fields(A& a, M& m) {
    a.Number(m.failure.rank);
    a.Text(m.failure.host, kMaxName, "the host's name");
    a.Number(m.failure.pid);
    a.Text(m.failure.reason, kMaxReason, "a reason");
    a.Text(m.failure.operation, kMaxOperation + 40, "an operation");
  }
};

}  // namespace ostria::control
