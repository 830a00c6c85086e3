// SPDX-License-Identifier: Apache-2.0
// The hub's half that answers requests: the store, and whoever waits for a value or for others.
#include <algorithm>

#include "dist/control/hub.h"

namespace ostria::control {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxWaiting = 1024;                    // requests of one connection
constexpr int kShownWaits = 8;                       // ranks of which it is said where they wait
constexpr milliseconds kLongestWait{2'592'000'000};  // 30 days

}  // namespace

void Hub::Respond(const Waiter& to, ReplyStatus status, std::string text) {
  Reply reply;
  reply.id = to.id;
  reply.status = status;
  reply.value = Clip(text, kMaxValue);
  Send(to.connection, reply);
}

void Hub::Answer(ConnectionId id, const Connection& c, Request request, Time now) {
  const bool is_rank = c.hello.role == Role::kRank;
  const int rank = c.hello.rank;
  Waiter waiter{id, request.id, is_rank ? rank : -1, now, {}};
  waiter.timeout = std::clamp(milliseconds(request.timeout_ms), milliseconds(0), kLongestWait);
  waiter.deadline = now + waiter.timeout;
  Reply reply;
  reply.id = request.id;
  switch (request.kind) {
    case RequestKind::kBarrier:
    case RequestKind::kAgree:
      if (!is_rank) {
        Respond(waiter, ReplyStatus::kRefused, "a launcher takes no part in meetings of ranks");
        return;
      }
      [[fallthrough]];
    case RequestKind::kGet:
      if (Wait(waiter, request, now)) return;
      reply = Serve(request);
      break;
    case RequestKind::kFail:
      if (is_rank) {
        PeerFailure failure = members_.Describe(rank, request.value);
        if (!request.operation.empty()) failure.operation = request.operation;
        Blame(std::move(failure), request.number != 0, now);
      } else {
        const int64_t about = std::clamp<int64_t>(request.number, -1, options_.world);
        Report(static_cast<int>(about), request.value, now);
      }
      break;
    case RequestKind::kFailures:
      for (const PeerFailure& f : record_.Sorted()) {
        if (reply.list.size() == 1000) break;
        Writer w;
        const Failure entry{f};
        Failure::Fields(w, entry);
        reply.list.push_back(std::move(w.bytes));
      }
      break;
    case RequestKind::kPaces:
      for (const RankPace& pace : stragglers_.latest()) {
        Writer w;
        RankPace::Fields(w, pace);
        reply.list.push_back(std::move(w.bytes));
      }
      break;
    case RequestKind::kLeave:
      if (is_rank) {
        members_.seat(rank).state = RankState::kLeft;
        if (!record_.Has(rank)) FailMeetings(rank);  // else its failure ends them
      }
      break;
    case RequestKind::kSet:
    case RequestKind::kAdd: reply = Serve(request); break;
  }
  Send(id, reply);
}

Reply Hub::Serve(const Request& request) {
  Reply reply;
  reply.id = request.id;
  try {
    const std::string& key = request.key;
    if (request.kind == RequestKind::kSet) {
      store_.Set(key, request.value);
      Wake(key);
    } else if (request.kind == RequestKind::kAdd) {
      reply.number = store_.Add(key, request.number);
      Wake(key);
    } else if (const std::string* value = store_.Find(key)) {
      reply.value = *value;
    } else {
      reply.status = ReplyStatus::kAbsent;
    }
  } catch (const Error& e) {
    reply.status = ReplyStatus::kRefused;
    reply.value = Clip(e.what(), kMaxReason);
  }
  return reply;
}

// Whether the request waits (or was answered for good), so that there is nothing more to say.
bool Hub::Wait(const Waiter& waiter, const Request& request, Time now) {
  if (request.kind == RequestKind::kGet) {
    if (request.number == 0 || store_.Find(request.key) != nullptr) return false;
  }
  if (announced_) {
    Respond(waiter, ReplyStatus::kPeerFailed);
    return true;
  }
  if (++waiting_[waiter.connection] > kMaxWaiting) {
    Release(waiter.connection);
    Respond(waiter, ReplyStatus::kRefused,
            StrCat("more than ", kMaxWaiting, " requests of one process wait"));
    return true;
  }
  if (request.kind == RequestKind::kGet) {
    gets_[request.key].push_back(waiter);
    return true;
  }
  for (const Seat& s : members_.seats()) {
    if (s.state != RankState::kLeft) continue;
    Release(waiter.connection);
    Respond(waiter, ReplyStatus::kTimeout,
            StrCat(members_.Name(s.member.rank), " has left the job"));
    return true;
  }
  if (request.kind == RequestKind::kAgree) {
    const auto verdict = verdicts_.find(request.key);
    if (verdict != verdicts_.end()) {
      Release(waiter.connection);
      Respond(waiter, ReplyStatus::kDisagree, verdict->second);
      return true;
    }
    Agreement& agreement = agreements_[request.key];
    if (agreement.waiters().contains(waiter.rank)) {
      Release(waiter.connection);
      Respond(waiter, ReplyStatus::kRefused, "this rank waits there already");
      return true;
    }
    agreement.Add(waiter, request.value);
    Settle(request.key, now);
    return true;
  }
  std::map<int, Waiter>& here = barriers_[request.key];
  if (!here.try_emplace(waiter.rank, waiter).second) {
    Release(waiter.connection);
    Respond(waiter, ReplyStatus::kRefused, "this rank waits there already");
    return true;
  }
  if (static_cast<int>(here.size()) < options_.world) return true;
  for (const auto& [rank, w] : here) {
    Release(w.connection);
    Respond(w, ReplyStatus::kOk);
  }
  barriers_.erase(request.key);
  return true;
}

void Hub::Release(ConnectionId id) {
  const auto at = waiting_.find(id);
  if (at != waiting_.end()) --at->second;
}

void Hub::Wake(const std::string& key) {
  const auto at = gets_.find(key);
  if (at == gets_.end()) return;
  for (const Waiter& w : at->second) {
    Reply reply;
    reply.id = w.id;
    reply.value = *store_.Find(key);
    Release(w.connection);
    Send(w.connection, reply);
  }
  gets_.erase(at);
}

// Brings an agreement as far as it can go.
void Hub::Settle(const std::string& name, Time now) {
  const auto at = agreements_.find(name);
  if (at == agreements_.end()) return;
  Agreement& agreement = at->second;
  const bool all = static_cast<int>(agreement.waiters().size()) == options_.world;
  if (!agreement.differs()) {
    if (!all) return;
    for (const auto& [rank, w] : agreement.waiters()) {
      Release(w.connection);
      Respond(w, ReplyStatus::kOk);
    }
    agreements_.erase(at);
    return;
  }
  // Those that come soon are shown too; then the lines are asked for, for as long.
  const milliseconds patience = std::min(2 * options_.timers.heartbeat, milliseconds(2000));
  if (!agreement.different) agreement.different = now;
  if (!agreement.asked) {
    if (!all && now - *agreement.different < patience) return;
    agreement.asked = now;
    for (const int rank : agreement.Speakers()) {
      Respond(agreement.waiters().at(rank), ReplyStatus::kSendLines);
    }
  }
  if (!agreement.HasAllLines() && now - *agreement.asked < patience) return;
  const std::string verdict = agreement.Verdict(members_);
  outbox_->Log(StrCat("'", name, "' ", verdict));
  for (const auto& [rank, w] : agreement.waiters()) {
    Release(w.connection);
    Respond(w, ReplyStatus::kDisagree, verdict);
  }
  if (verdicts_.size() < 1000) verdicts_[name] = verdict;
  agreements_.erase(at);
}

std::string Hub::Missing(const std::map<int, Waiter>& here) const {
  std::vector<int> missing;
  for (const Seat& s : members_.seats()) {
    if (!here.contains(s.member.rank)) missing.push_back(s.member.rank);
  }
  return StrCat(missing.size(), " of ", options_.world,
                " ranks did not come: ", members_.Names(missing));
}

// Where every rank waits, but not all in one place, none will ever come to where the others are:
// one traces what the others run, or asks for a meeting that is the program's on some ranks only.
void Hub::CheckCrossed(Time now) {
  std::map<int, std::string> where;
  for (const auto& [name, here] : barriers_) {
    for (const auto& [rank, w] : here) where[rank] = StrCat("barrier '", name, "'");
  }
  for (const auto& [name, agreement] : agreements_) {
    if (agreement.differs()) return;  // it is about to end with more to say
    for (const auto& [rank, w] : agreement.waiters()) where[rank] = StrCat("agree '", name, "'");
  }
  const bool some_meet = !where.empty();
  std::string text;
  for (const Seat& s : members_.seats()) {
    const int rank = s.member.rank;
    if (!where.contains(rank) && s.progress.inside) {
      where[rank] = StrCat("operation ", ToString(s.progress));
    }
    if (s.state != RankState::kAlive || !where.contains(rank)) {
      crossed_.reset();
      return;
    }
    if (rank < kShownWaits) {
      text += StrCat(rank == 0 ? "" : ", ", members_.Name(rank), " in ", where[rank]);
    }
  }
  if (!some_meet) return;
  if (!crossed_) crossed_ = now;
  if (now - *crossed_ < options_.timers.suspect) return;
  if (options_.world > kShownWaits) text += StrCat(" and ", options_.world - kShownWaits, " more");
  Blame({-1, "", 0,
         Clip(StrCat("ranks wait for each other in different places for ",
                     ToString(options_.timers.suspect), ": ", text,
                     "; every rank must run the same program"),
              kMaxReason),
         ""},
        false, now);
}

void Hub::CheckWaits(Time now) {
  std::vector<std::string> names;
  for (const auto& [name, agreement] : agreements_) {
    if (agreement.differs()) names.push_back(name);
  }
  for (const std::string& name : names) Settle(name, now);
  const auto late = [&](const Waiter& w) { return now >= w.deadline; };
  EndWaits(late, ReplyStatus::kTimeout, "");
}

// A meeting ends for all that wait in it as soon as it ends for one.
void Hub::EndWaits(const std::function<bool(const Waiter&)>& which, ReplyStatus status,
                   const std::string& text) {
  const auto end = [&](const Waiter& w, const std::string& why) {
    Release(w.connection);
    Respond(w, status, why);
  };
  for (auto at = gets_.begin(); at != gets_.end();) {
    std::erase_if(at->second, [&](const Waiter& w) {
      if (!which(w)) return false;
      end(w, text.empty() ? StrCat("nobody set it within ", ToString(w.timeout)) : text);
      return true;
    });
    at = at->second.empty() ? gets_.erase(at) : std::next(at);
  }
  const auto end_meeting = [&](const std::map<int, Waiter>& here) {
    const auto first = std::find_if(here.begin(), here.end(),
                                    [&](const auto& entry) { return which(entry.second); });
    if (first == here.end()) return false;
    const std::string why =
        !text.empty() ? text
                      : StrCat("within ", ToString(first->second.timeout), " ", Missing(here));
    for (const auto& [rank, w] : here) end(w, why);
    return true;
  };
  std::erase_if(barriers_, [&](const auto& entry) { return end_meeting(entry.second); });
  std::erase_if(agreements_,
                [&](const auto& entry) { return end_meeting(entry.second.waiters()); });
  if (status != ReplyStatus::kPeerFailed) return;
  for (const auto& [rank, id] : joining_) {
    Respond({members_.seat(rank).connection, id, rank, {}, {}}, status);
  }
  joining_.clear();
}

void Hub::FailMeetings(int rank) {
  const std::string text = StrCat(members_.Name(rank), " has left the job");
  const auto end = [&](const auto& entry) {
    for (const auto& [r, w] : entry) {
      Release(w.connection);
      Respond(w, ReplyStatus::kTimeout, text);
    }
  };
  for (const auto& [name, here] : barriers_) end(here);
  for (const auto& [name, agreement] : agreements_) end(agreement.waiters());
  barriers_.clear();
  agreements_.clear();
  for (const auto& [r, id] : joining_) {
    Respond({members_.seat(r).connection, id, r, {}, {}}, ReplyStatus::kTimeout, text);
  }
  joining_.clear();
}

}  // namespace ostria::control
