// SPDX-License-Identifier: Apache-2.0
#include "dist/control/membership.h"

#include <algorithm>

namespace ostria::control {

std::string ToString(const Progress& progress) {
  if (progress.number == 0) return "";
  return StrCat("#", progress.number, " '", progress.name, "'");
}

Membership::Membership(int world, const Timers& timers)
    : seats_(static_cast<size_t>(world)), timers_(timers) {
  for (int r = 0; r < world; ++r) seat(r).member.rank = r;
}

void Membership::Seen(int rank, Time now) {
  Seat& s = seat(rank);
  s.seen = now;
  if (s.state == RankState::kSuspect) s.state = RankState::kAlive;
}

void Membership::Heard(int rank, Progress progress, Time now) {
  Seat& s = seat(rank);
  Seen(rank, now);
  const bool same = s.progress.inside == progress.inside && s.progress.number == progress.number;
  if (!same) s.since = now;
  s.progress = std::move(progress);
}

void Membership::Forgive(std::chrono::nanoseconds gap) {
  for (Seat& s : seats_) {
    s.seen += std::chrono::duration_cast<Time::duration>(gap);
    s.since += std::chrono::duration_cast<Time::duration>(gap);
  }
}

std::vector<int> Membership::NewSuspects(Time now) {
  std::vector<int> found;
  for (Seat& s : seats_) {
    if (s.state != RankState::kAlive || now - s.seen < timers_.suspect) continue;
    s.state = RankState::kSuspect;
    found.push_back(s.member.rank);
  }
  return found;
}

std::optional<PeerFailure> Membership::FindDead(Time now) const {
  for (const Seat& s : seats_) {
    if (!s.present() || now - s.seen < timers_.dead) continue;
    return Describe(s.member.rank, StrCat("no heartbeat for ", ToString(timers_.dead),
                                          "; it is stopped, or cut off from the network"));
  }
  return std::nullopt;
}

std::optional<PeerFailure> Membership::FindStuck(Time now) const {
  uint64_t last = 0;  // the furthest operation that somebody is inside of
  for (const Seat& s : seats_) {
    if (s.present() && s.progress.inside) last = std::max(last, s.progress.number);
  }
  if (last == 0) return std::nullopt;
  std::vector<int> inside, behind, left;
  bool takes_long = false;  // as long as a first step
  std::string busy;
  Time first = Time::max(), latest{};  // when it was entered, and the last news of it
  std::string what;
  for (const Seat& s : seats_) {
    const int rank = s.member.rank;
    if (s.present() && s.progress.steps == 0) takes_long = true;
    if (s.progress.number < last) {
      (s.state == RankState::kLeft ? left : behind).push_back(rank);
      if (s.present() && !s.progress.busy.empty()) {
        takes_long = true;
        busy += StrCat("; ", Name(rank), " was busy with: ", s.progress.busy);
      }
    } else if (s.present()) {
      // Of one that is through already: the others are as well, but may not have said so yet.
      latest = std::max(latest, s.since);
      if (!s.progress.inside) continue;
      inside.push_back(rank);
      what = ToString(s.progress);
      first = std::min(first, s.since);
    }
  }
  if (!left.empty()) {
    return Describe(left[0],
                    StrCat(Names(left), " left the job without operation ", what, ", which ",
                           Names(inside), " entered; every rank must run the same program"));
  }
  const Timers::ms limit = takes_long ? timers_.first_step : timers_.no_progress;
  if (now - (behind.empty() ? latest : first) < limit) return std::nullopt;
  if (!behind.empty()) {
    return Describe(behind[0],
                    StrCat("no progress for ", ToString(limit), ": ", Names(behind),
                           " did not enter operation ", what, ", in which ", Names(inside),
                           inside.size() == 1 ? " waits" : " wait", busy));
  }
  PeerFailure failure;
  failure.reason = StrCat("no progress for ", ToString(limit), ": operation ", what,
                          " does not end on ", Names(inside), ", though every rank entered it");
  failure.operation = what;
  return failure;
}

PeerFailure Membership::Describe(int rank, std::string reason) const {
  const Seat& s = seat(rank);
  return {rank, s.member.host, s.member.pid, Clip(reason, kMaxReason), ToString(s.progress)};
}

std::string Membership::Names(const std::vector<int>& ranks) const {
  constexpr size_t kShown = 32;
  std::string text;
  for (size_t i = 0; i < std::min(ranks.size(), kShown); ++i) {
    const std::string& host = seat(ranks[i]).member.host;
    text += StrCat(i == 0 ? "" : ", ", "rank ", ranks[i]);
    if (!host.empty()) text += StrCat(" (", host, ")");
  }
  if (ranks.size() > kShown) text += StrCat(" and ", ranks.size() - kShown, " more");
  return text;
}

void FailureRecord::Add(PeerFailure failure, bool consequence) {
  entries_.push_back({std::move(failure), consequence});
}

void FailureRecord::Amend(int rank, std::string_view reason) {
  for (Entry& e : entries_) {
    if (e.failure.rank == rank) {
      e.failure.reason = Clip(StrCat(reason, "; ", e.failure.reason), kMaxReason);
    }
  }
}

bool FailureRecord::Has(int rank) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& e) { return e.failure.rank == rank; });
}

std::vector<PeerFailure> FailureRecord::Sorted() const {
  std::vector<PeerFailure> sorted;
  const auto cause =
      std::find_if(entries_.begin(), entries_.end(), [](const Entry& e) { return !e.consequence; });
  if (cause != entries_.end()) sorted.push_back(cause->failure);
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    if (at != cause) sorted.push_back(at->failure);
  }
  return sorted;
}

}  // namespace ostria::control
