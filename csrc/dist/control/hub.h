// SPDX-License-Identifier: Apache-2.0
// The server of the control channel without its sockets: bytes of connections come in, messages go
// out through an Outbox, and time is an argument. One thread owns it. A connection that breaks a
// rule is refused by name and forgotten; the others never notice.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "dist/control/agreement.h"
#include "dist/control/membership.h"
#include "dist/control/store.h"
#include "dist/control/stragglers.h"

namespace ostria::control {

using ConnectionId = uint64_t;
using Bytes = std::shared_ptr<const std::string>;  // one copy for all that get it

class Outbox {
 public:
  virtual ~Outbox() = default;
  virtual void Send(ConnectionId to, Bytes bytes) = 0;
  /// After what was sent to it. The hub has forgotten it already.
  virtual void Close(ConnectionId id) = 0;
  virtual void Log(const std::string& line) = 0;
};

struct HubOptions {
  std::string job;
  uint32_t generation = 1;
  int world = 1;
  Timers timers;
  // Who serves; rank -1: a launcher.
  int rank = -1;
  std::string host;
  int64_t pid = 0;
  size_t max_pending = 64;  // connections that have not yet proved who they are
};

class Hub {
 public:
  /// Throws Error(kInvalidArgument) for options that make no job.
  Hub(HubOptions options, const Secret& secret, Outbox* outbox, Time now);

  /// Whether one more connection may come. Makes room by refusing one that dawdles.
  bool MayAccept(Time now);
  void Connected(ConnectionId id, std::string address, Time now);
  void Received(ConnectionId id, std::span<const uint8_t> bytes, Time now);
  void Disconnected(ConnectionId id, std::string_view why, Time now);
  /// Everything that happens by time; many times within a heartbeat.
  void Tick(Time now);

  /// A new generation of the job: whoever belongs to the old one is refused, and nothing is left.
  void Advance(uint32_t generation, int world, Time now);
  /// What its launcher knows about a rank, such as the signal that ended it. Where a launcher
  /// serves, that is waited for a moment before a connection's end is told without it.
  void Report(int rank, std::string_view reason, Time now);
  /// Tells everybody that the store ends.
  void Close();

  const HubOptions& options() const { return options_; }
  const Membership& members() const { return members_; }
  std::vector<PeerFailure> failures() const { return record_.Sorted(); }
  const std::map<Refused, int64_t>& refusals() const { return refusals_; }
  size_t pending() const { return pending_; }
  bool everybody_left() const;
  /// How many ranks have come, and neither left nor failed.
  int present() const;

 private:
  enum class Stage : uint8_t { kHello, kProof, kReady };
  struct Connection {
    std::string address, input;
    Stage stage = Stage::kHello;
    Time opened{};
    Hello hello;
    uint32_t generation = 0;
    Nonce nonce{};
  };

  // hub.cpp: connections
  bool Handle(ConnectionId id, Connection& c, const Frame& frame, Time now);
  bool Greet(ConnectionId id, Connection& c, const Frame& frame);
  bool Admit(ConnectionId id, Connection& c, const Proof& proof, Time now);
  void LogRefusal(const std::string& address, Refused reason, const std::string& text);
  bool Refuse(ConnectionId id, Refused reason, const std::string& text);
  void RefuseRank(int rank, Refused reason, const std::string& text);
  void Enter(ConnectionId id, const Connection& c, Join join, Time now);
  void Blame(PeerFailure failure, bool consequence, Time now);
  void Announce(const PeerFailure& failure);
  void NotePause(Time now);
  void BlameOwnPause(Time now);
  void CheckHandshakes(Time now);
  void CheckJoin(Time now);
  void CheckLost(Time now);
  void CheckCrossed(Time now);
  template <class T>
  void Send(ConnectionId to, const T& message) {
    outbox_->Send(to, std::make_shared<std::string>(Encode(message, options_.generation)));
  }

  // hub_requests.cpp: the store and meetings
  void Answer(ConnectionId id, const Connection& c, Request request, Time now);
  Reply Serve(const Request& request);
  bool Wait(const Waiter& waiter, const Request& request, Time now);
  void Release(ConnectionId id);
  void Wake(const std::string& key);
  void Settle(const std::string& name, Time now);
  void CheckWaits(Time now);
  void EndWaits(const std::function<bool(const Waiter&)>& which, ReplyStatus status,
                const std::string& text);
  void FailMeetings(int rank);
  std::string Missing(const std::map<int, Waiter>& here) const;
  void Respond(const Waiter& to, ReplyStatus status, std::string text = "");

  HubOptions options_;
  Secret secret_;
  Outbox* outbox_;
  Membership members_;
  Store store_;
  FailureRecord record_;
  Stragglers stragglers_;
  std::map<ConnectionId, Connection> connections_;
  std::map<Refused, int64_t> refusals_;
  size_t pending_ = 0;
  Time started_, ticked_, reported_;
  struct Pause {
    Time::duration length{};
    Time end{};
  };
  Pause paused_;  // this process, the last time it was for as long as `dead`
  bool begun_ = false, complete_ = false;  // the first rank has come; all have joined
  struct Lost {
    Time since;
    std::string why;
  };
  std::map<int, Lost> lost_;              // ranks whose connection ended, and no more is known
  std::map<int, uint64_t> joining_;       // the ids of their requests
  std::optional<PeerFailure> announced_;  // ends the generation
  std::optional<Time> consequence_;       // when the first was told
  std::map<std::string, std::vector<Waiter>> gets_;
  std::map<std::string, std::map<int, Waiter>> barriers_;
  std::map<std::string, Agreement> agreements_;
  std::map<std::string, std::string> verdicts_;  // of agreements that failed
  std::optional<Time> crossed_;                  // since when all wait, in several places
  std::map<ConnectionId, int> waiting_;          // how many requests of a connection wait
};

}  // namespace ostria::control
