// SPDX-License-Identifier: Apache-2.0
#include "dist/control/hub.h"

#include <algorithm>

#include "dist/control/handshake.h"

namespace ostria::control {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxConnections = 2 * kMaxRanks;
constexpr milliseconds kYoung{500};   // a handshake that takes longer makes room for others
constexpr milliseconds kReport{250};  // a launcher sees the end of a process within this

}  // namespace

Hub::Hub(HubOptions options, const Secret& secret, Outbox* outbox, Time now)
    : options_(std::move(options)),
      secret_(secret),
      outbox_(outbox),
      members_(std::clamp(options_.world, 1, static_cast<int>(kMaxRanks)), options_.timers),
      stragglers_(members_.world(), options_.timers.report),
      started_(now),
      ticked_(now),
      reported_(now) {
  Check(options_.timers);
  if (options_.world != members_.world()) {
    Fail(ErrorCode::kInvalidArgument, "a job of ", options_.world, " ranks; it has 1 to ",
         kMaxRanks);
  }
  if (options_.job.empty() || options_.job.size() > kMaxName) {
    Fail(ErrorCode::kInvalidArgument, "job '", Clip(options_.job, 64), "'; a job's id has 1 to ",
         kMaxName, " bytes");
  }
  options_.host = Clip(options_.host, kMaxName);
}

bool Hub::MayAccept(Time now) {
  if (connections_.size() >= kMaxConnections) return false;
  if (pending_ < options_.max_pending) return true;
  ConnectionId oldest = 0;
  Time opened = now - kYoung;
  for (const auto& [id, c] : connections_) {
    if (c.stage == Stage::kReady || c.opened > opened) continue;
    opened = c.opened;
    oldest = id;
  }
  if (oldest == 0) return false;
  Refuse(oldest, Refused::kCrowded,
         StrCat("more than ", options_.max_pending,
                " connections have not proved who they are; "
                "this one was the oldest"));
  return true;
}

void Hub::Connected(ConnectionId id, std::string address, Time now) {
  Connection& c = connections_[id];
  c.address = std::move(address);
  c.opened = now;
  ++pending_;
}

void Hub::Received(ConnectionId id, std::span<const uint8_t> bytes, Time now) {
  const auto at = connections_.find(id);
  if (at == connections_.end()) return;
  Connection& c = at->second;
  c.input.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  size_t done = 0;
  while (true) {
    const auto* data = reinterpret_cast<const uint8_t*>(c.input.data());
    const Frame frame = ParseFrame({data + done, c.input.size() - done});
    switch (frame.status) {
      case Frame::Status::kNotOurs:
        Refuse(id, Refused::kGarbage, "these bytes are no message of Ostria's control channel");
        return;
      case Frame::Status::kOtherVersion:
        Refuse(id, Refused::kVersion,
               StrCat("the store speaks version ", kVersion, " of the protocol, not ",
                      frame.header.version, "; install one version of ostria on all hosts"));
        return;
      case Frame::Status::kBadType:
        Refuse(id, Refused::kGarbage,
               StrCat("there is no message type ", static_cast<int>(frame.header.type)));
        return;
      case Frame::Status::kTooLong:
        Refuse(id, Refused::kGarbage,
               StrCat("a message of type ", static_cast<int>(frame.header.type), " with ",
                      frame.header.length, " bytes; at most ", MaxBody(frame.header.type)));
        return;
      case Frame::Status::kIncomplete:
      case Frame::Status::kComplete: break;
    }
    // Before the handshake nobody may make the server keep more than a handshake's bytes.
    const MessageType type = frame.header.type;
    const bool hello = type == MessageType::kHello, proof = type == MessageType::kProof;
    const bool fits = c.stage == Stage::kHello   ? hello
                      : c.stage == Stage::kProof ? proof
                                                 : !hello && !proof;
    if (static_cast<int>(type) != 0 && !fits) {
      Refuse(id, Refused::kProtocol,
             StrCat("a message of type ", static_cast<int>(type),
                    c.stage == Stage::kReady ? " after" : " before", " the handshake"));
      return;
    }
    if (frame.status == Frame::Status::kIncomplete) break;
    const size_t size = frame.size();
    if (!Handle(id, c, frame, now)) return;
    done += size;
  }
  c.input.erase(0, done);
}

// Like Greet and Admit, says whether the connection is still there.
bool Hub::Handle(ConnectionId id, Connection& c, const Frame& frame, Time now) {
  const auto broken = [&] {
    return Refuse(id, Refused::kGarbage,
                  StrCat("the body of a message of type ", static_cast<int>(frame.header.type),
                         " is damaged"));
  };
  if (c.stage == Stage::kHello) {
    if (auto hello = Decode<Hello>(frame.body)) {
      c.hello = std::move(*hello);
      return Greet(id, c, frame);
    }
    return broken();
  }
  if (frame.header.generation != c.generation) {
    return Refuse(id, Refused::kGeneration,
                  StrCat("a message of generation ", frame.header.generation,
                         " on a connection of generation ", c.generation));
  }
  if (c.stage == Stage::kProof) {
    const auto proof = Decode<Proof>(frame.body);
    return proof ? Admit(id, c, *proof, now) : broken();
  }
  const bool rank = c.hello.role == Role::kRank;
  if (rank) members_.Seen(c.hello.rank, now);
  if (frame.header.type == MessageType::kHeartbeat) {
    auto beat = Decode<Heartbeat>(frame.body);
    if (!beat) return broken();
    if (rank) {
      members_.Heard(c.hello.rank, std::move(beat->progress), now);
      for (const auto& line : stragglers_.Heard(c.hello.rank, beat->pace, members_, now)) {
        outbox_->Log(line);
      }
    }
    Send(id, HeartbeatReply());
  } else if (frame.header.type == MessageType::kRequest) {
    auto request = Decode<Request>(frame.body);
    if (!request) return broken();
    Answer(id, c, std::move(*request), now);
  } else if (frame.header.type == MessageType::kJoin && rank) {
    auto join = Decode<Join>(frame.body);
    if (!join) return broken();
    Enter(id, c, std::move(*join), now);
  } else if (frame.header.type == MessageType::kLines && rank) {
    auto lines = Decode<Lines>(frame.body);
    if (!lines) return broken();
    const auto at = agreements_.find(lines->name);
    if (at != agreements_.end()) at->second.AddLines(c.hello.rank, std::move(lines->lines));
    Settle(lines->name, now);
  } else {
    return Refuse(id, Refused::kProtocol,
                  StrCat("a message of type ", static_cast<int>(frame.header.type),
                         " that is not for the store"));
  }
  return connections_.contains(id);
}

bool Hub::Greet(ConnectionId id, Connection& c, const Frame& frame) {
  const Hello& hello = c.hello;
  c.generation = frame.header.generation;
  if (hello.job != options_.job) {
    return Refuse(id, Refused::kJob, "this store serves another job");
  }
  if (c.generation < options_.generation) {
    return Refuse(
        id, Refused::kGeneration,
        StrCat("generation ", c.generation, " of job '", hello.job, "' is over, generation ",
               options_.generation, " runs; this process is stale and must end"));
  }
  const bool in_range = hello.rank >= 0 && hello.rank < options_.world;
  if (hello.role == Role::kRank && c.generation == options_.generation &&
      (!in_range || hello.world != options_.world)) {
    return Refuse(id, Refused::kRank,
                  StrCat("rank ", hello.rank, " of ", hello.world, "; this job has ranks 0 to ",
                         options_.world - 1));
  }
  c.nonce = RandomNonce();
  c.stage = Stage::kProof;
  const std::string transcript = Transcript(Side::kServer, hello, c.generation, c.nonce);
  Send(id, Challenge{secret_.Hmac(transcript), c.nonce});
  return true;
}

bool Hub::Admit(ConnectionId id, Connection& c, const Proof& proof, Time now) {
  const Hello& hello = c.hello;
  if (!secret_.Verify(proof.mac, Transcript(Side::kClient, hello, c.generation, c.nonce))) {
    return Refuse(id, Refused::kSecret,
                  StrCat("the proof is wrong: this process has another secret than job '",
                         options_.job, "'"));
  }
  if (c.generation > options_.generation) {
    const std::string text =
        StrCat("generation ", c.generation, " of job '", options_.job,
               "' has begun; this one is generation ", options_.generation, " and is over");
    Refuse(id, Refused::kNewer, text);
    Blame({-1, "", 0, text, ""}, false, now);
    return false;
  }
  if (hello.role == Role::kRank && announced_) {
    return Refuse(id, Refused::kGeneration,
                  StrCat("generation ", c.generation, " of job '", hello.job,
                         "' is over: ", Clip(ToString(*announced_), 1024), "; start generation ",
                         c.generation + 1));
  }
  if (hello.role == Role::kRank) {
    Seat& seat = members_.seat(hello.rank);
    if (seat.state != RankState::kAbsent) {
      const bool is_same = proof.pid == seat.member.pid && proof.host == seat.member.host;
      return Refuse(
          id, Refused::kTaken,
          StrCat(members_.Name(hello.rank), ", process ", seat.member.pid,
                 seat.present() ? ", is there already; give each process its own rank"
                 : is_same ? ", has left the job, and a process joins it once; leave at the end"
                           : ", was there; a new process needs a new generation"));
    }
    seat.state = RankState::kAlive;
    seat.connection = id;
    seat.member.host = proof.host;
    seat.member.pid = proof.pid;
    members_.Seen(hello.rank, now);
    if (!std::exchange(begun_, true)) started_ = reported_ = now;  // a launcher's job may need none
  }
  c.stage = Stage::kReady;
  --pending_;
  Send(id, Welcome{options_.rank, options_.host, options_.pid});
  if (announced_) Send(id, Failure{*announced_});
  return true;
}

// Who knocks a million times must not fill a disk: the 1st, 2nd, 4th, 8th, … are told.
void Hub::LogRefusal(const std::string& address, Refused reason, const std::string& text) {
  const int64_t times = ++refusals_[reason];
  if (reason == Refused::kClosing || (times & (times - 1)) != 0) return;
  outbox_->Log(StrCat("refused ", address, " (", ToString(reason), ", no. ", times, "): ", text));
}

bool Hub::Refuse(ConnectionId id, Refused reason, const std::string& text) {
  const auto at = connections_.find(id);
  if (at == connections_.end()) return false;
  LogRefusal(at->second.address, reason, text);
  Send(id, Refusal{reason, Clip(text, 2048)});
  // Its seat is judged by the caller, or as broken by the next tick.
  if (at->second.stage != Stage::kReady) --pending_;
  connections_.erase(at);
  waiting_.erase(id);
  outbox_->Close(id);
  return false;
}

void Hub::RefuseRank(int rank, Refused reason, const std::string& text) {
  Seat& seat = members_.seat(rank);
  seat.state = RankState::kDead;
  Refuse(seat.connection, reason, text);
}

void Hub::Disconnected(ConnectionId id, std::string_view why, Time now) {
  const auto at = connections_.find(id);
  if (at == connections_.end()) return;
  const Connection c = std::move(at->second);
  connections_.erase(at);
  waiting_.erase(id);
  if (c.stage != Stage::kReady) {
    --pending_;
    // With another secret it cannot believe the challenge, and goes without a word: only here can
    // those that wait for it learn why it does not come.
    if (c.stage == Stage::kProof && c.hello.role == Role::kRank) {
      LogRefusal(c.address, Refused::kSecret,
                 StrCat("rank ", c.hello.rank, " of job '", c.hello.job,
                        "' left instead of proving that it knows the job's secret; give all "
                        "processes the same one, unless it was killed just then"));
    }
    return;
  }
  if (c.hello.role != Role::kRank) return;
  Seat& seat = members_.seat(c.hello.rank);
  if (seat.state == RankState::kLeft) return;
  BlameOwnPause(now);
  seat.state = RankState::kDead;
  std::string reason =
      StrCat(why, " without a leave: its process was killed, crashed or ended early");
  const bool by_launcher = options_.rank < 0;
  if (by_launcher && !announced_ && !record_.Has(c.hello.rank)) {
    lost_[c.hello.rank] = {now, std::move(reason)};
  } else {
    Blame(members_.Describe(c.hello.rank, std::move(reason)), announced_.has_value(), now);
  }
}

void Hub::CheckLost(Time now) {
  while (!lost_.empty()) {
    // Who went first is the cause of who went then.
    const auto [rank, lost] = *std::min_element(
        lost_.begin(), lost_.end(),
        [](const auto& a, const auto& b) { return a.second.since < b.second.since; });
    if (!announced_ && now - lost.since < std::min(kReport, options_.timers.heartbeat)) return;
    lost_.erase(rank);
    Blame(members_.Describe(rank, lost.why), announced_.has_value(), now);
  }
}

void Hub::Enter(ConnectionId id, const Connection& c, Join join, Time now) {
  Seat& seat = members_.seat(c.hello.rank);
  if (announced_) {
    Respond({id, join.id, c.hello.rank, now, {}}, ReplyStatus::kPeerFailed);
    return;
  }
  for (const Seat& other : members_.seats()) {
    if (other.state != RankState::kLeft) continue;
    Respond({id, join.id, c.hello.rank, now, {}}, ReplyStatus::kTimeout,
            StrCat(members_.Name(other.member.rank), " has left the job"));
    return;
  }
  const auto everybody = [&] {
    Members all;
    for (const Seat& s : members_.seats()) all.members.push_back(s.member);
    return std::make_shared<std::string>(Encode(all, options_.generation));
  };
  if (complete_) {  // it had given up its first wait, perhaps for a Ctrl-C
    outbox_->Send(id, everybody());
    return;
  }
  seat.joined = true;
  seat.member.addresses = std::move(join.addresses);
  joining_[c.hello.rank] = join.id;
  if (static_cast<int>(joining_.size()) < options_.world) return;
  complete_ = true;
  const auto bytes = everybody();
  for (const Seat& s : members_.seats()) outbox_->Send(s.connection, bytes);
  joining_.clear();
  outbox_->Log(StrCat("all ", options_.world, " ranks have joined after ",
                      ToString(std::chrono::duration_cast<milliseconds>(now - started_))));
}

void Hub::Blame(PeerFailure failure, bool consequence, Time now) {
  if (failure.rank >= 0 && record_.Has(failure.rank)) return;
  if (begun_ || failure.rank < 0) {  // else a job that uses no store: its launcher says enough
    outbox_->Log(StrCat(consequence ? "consequence: " : "failure: ", ToString(failure)));
  }
  record_.Add(failure, consequence);
  if (announced_) return;
  // Its cause is often on its way: a killed process' own connection says more than its peers'.
  if (consequence)
    consequence_ = consequence_.value_or(now);
  else
    Announce(failure);
}

void Hub::Announce(const PeerFailure& failure) {
  announced_ = failure;
  const auto bytes =
      std::make_shared<std::string>(Encode(control::Failure{failure}, options_.generation));
  for (const auto& [id, c] : connections_) {
    if (c.stage == Stage::kReady) outbox_->Send(id, bytes);
  }
  EndWaits([](const Waiter&) { return true; }, ReplyStatus::kPeerFailed, "");
}

void Hub::Report(int rank, std::string_view reason, Time now) {
  if (rank < 0 || rank >= options_.world) {
    Blame({-1, "", 0, Clip(reason, kMaxReason), ""}, false, now);
  } else if (record_.Has(rank)) {
    record_.Amend(rank, reason);
  } else if (members_.seat(rank).state != RankState::kLeft) {
    lost_.erase(rank);
    Blame(members_.Describe(rank, std::string(reason)), announced_.has_value(), now);
  }
}

// Also before the first tick after a pause: what is read first may be the end of who gave up.
void Hub::NotePause(Time now) {
  if (now - ticked_ >= options_.timers.dead) paused_ = {now - ticked_, now};
}

// Those that gave this process up end within moments of its pause; who ends later does so by
// itself.
void Hub::BlameOwnPause(Time now) {
  NotePause(now);
  const Timers::ms patience = options_.timers.dead;
  if (announced_ || paused_.length < patience || now - paused_.end >= patience) return;
  PeerFailure failure{options_.rank, options_.host, options_.pid, "", ""};
  if (options_.rank >= 0) failure = members_.Describe(options_.rank, "");
  failure.reason = StrCat("it serves the store, and was stopped for ",
                          ToString(std::chrono::duration_cast<milliseconds>(paused_.length)),
                          "; the others give it up after ", ToString(patience));
  Blame(std::move(failure), false, now);
}

void Hub::Tick(Time now) {
  // Where this process itself was stopped, heartbeats wait in its sockets: nobody is late yet.
  NotePause(now);
  const auto gap = now - std::exchange(ticked_, now);
  if (gap > options_.timers.suspect / 2) members_.Forgive(gap);
  CheckHandshakes(now);
  for (const int rank : members_.NewSuspects(now)) {
    outbox_->Log(StrCat(members_.Name(rank), " is suspect: no heartbeat for ",
                        ToString(options_.timers.suspect)));
  }
  while (const auto dead = members_.FindDead(now)) {
    RefuseRank(dead->rank, Refused::kGeneration,
               StrCat("rank ", dead->rank, " was given up after ", ToString(options_.timers.dead),
                      " without a heartbeat, and generation ", options_.generation,
                      " is over; this process is stale and must end"));
    Blame(*dead, false, now);
  }
  CheckLost(now);
  for (const Seat& s : members_.seats()) {  // refused for what they sent
    if (!s.present() || connections_.contains(s.connection)) continue;
    const int rank = s.member.rank;
    members_.seat(rank).state = RankState::kDead;
    Blame(members_.Describe(rank, "it was refused for what it sent"), false, now);
  }
  if (!announced_) {
    CheckJoin(now);
    if (const auto stuck = members_.FindStuck(now)) Blame(*stuck, false, now);
    if (!announced_) CheckCrossed(now);
  }
  if (!announced_ && consequence_ && now - *consequence_ >= options_.timers.heartbeat) {
    Announce(record_.Sorted()[0]);
  }
  CheckWaits(now);
}

void Hub::CheckHandshakes(Time now) {
  if (pending_ == 0) return;
  std::vector<ConnectionId> late;
  for (const auto& [id, c] : connections_) {
    if (c.stage != Stage::kReady && now - c.opened >= options_.timers.authenticate)
      late.push_back(id);
  }
  for (const ConnectionId id : late) {
    Refuse(id, Refused::kSilent,
           StrCat("no proof within ", ToString(options_.timers.authenticate)));
  }
}

void Hub::CheckJoin(Time now) {
  if (!begun_ || complete_) return;
  std::vector<int> here, missing;
  for (const Seat& s : members_.seats()) (s.joined ? here : missing).push_back(s.member.rank);
  const std::string who = StrCat(missing.size(), " of ", options_.world,
                                 " ranks have not joined: ", members_.Names(missing),
                                 here.empty() ? "" : "; joined: ", members_.Names(here));
  if (now - started_ >= options_.timers.join) {
    PeerFailure failure = members_.Describe(
        missing[0], StrCat("did not join within ", ToString(options_.timers.join), "; ", who));
    Blame(std::move(failure), false, now);
  } else if (now - reported_ >= options_.timers.report) {
    reported_ = now;
    outbox_->Log(StrCat(who, "; waiting since ",
                        ToString(std::chrono::duration_cast<milliseconds>(now - started_)), " of ",
                        ToString(options_.timers.join)));
  }
}

void Hub::Advance(uint32_t generation, int world, Time now) {
  if (generation <= options_.generation || world < 1 || world > static_cast<int>(kMaxRanks)) {
    Fail(ErrorCode::kInvalidArgument, "generation ", generation, " of ", world,
         " ranks after generation ", options_.generation, "; generations only rise");
  }
  std::vector<ConnectionId> old;
  for (const auto& [id, c] : connections_) {
    if (c.stage != Stage::kReady || c.hello.role == Role::kRank) old.push_back(id);
  }
  for (const ConnectionId id : old) {
    Refuse(id, Refused::kGeneration,
           StrCat("generation ", options_.generation, " is over, generation ", generation,
                  " has begun; this process is stale and must end"));
  }
  options_.generation = generation;
  options_.world = world;
  for (auto& [id, c] : connections_) c.generation = generation;
  members_ = Membership(world, options_.timers);
  store_ = {};
  record_ = {};
  stragglers_ = Stragglers(world, options_.timers.report);
  started_ = reported_ = now;
  begun_ = complete_ = false;
  lost_.clear();
  joining_.clear();
  announced_.reset();
  consequence_.reset();
  crossed_.reset();
  gets_.clear();
  barriers_.clear();
  agreements_.clear();
  verdicts_.clear();
  waiting_.clear();
}

void Hub::Close() {
  std::vector<ConnectionId> all;
  for (const auto& [id, c] : connections_) all.push_back(id);
  for (const ConnectionId id : all)
    Refuse(id, Refused::kClosing, "the store of this job has ended");
}

int Hub::present() const {
  return static_cast<int>(std::count_if(members_.seats().begin(), members_.seats().end(),
                                        [](const Seat& s) { return s.present(); }));
}

bool Hub::everybody_left() const {
  return std::all_of(members_.seats().begin(), members_.seats().end(), [](const Seat& s) {
    return s.state == RankState::kLeft || s.state == RankState::kDead;
  });
}

}  // namespace ostria::control
