// SPDX-License-Identifier: Apache-2.0
// Who is there: a seat for each rank, what its heartbeats told, and who failed first. Times are
// given by the caller, from a monotonic clock; nothing here waits or sends.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "dist/control/messages.h"

namespace ostria::control {

using Time = std::chrono::steady_clock::time_point;

enum class RankState : uint8_t { kAbsent, kAlive, kSuspect, kDead, kLeft };

struct Seat {
  RankState state = RankState::kAbsent;
  bool joined = false;
  uint64_t connection = 0;
  Member member;
  Time seen{};        // last sign of life
  Progress progress;  // of the last heartbeat
  Time since{};       // when it came to this operation, or out of it
  bool present() const { return state == RankState::kAlive || state == RankState::kSuspect; }
};

class Membership {
 public:
  Membership(int world, const Timers& timers);

  int world() const { return static_cast<int>(seats_.size()); }
  const std::vector<Seat>& seats() const { return seats_; }
  Seat& seat(int rank) { return seats_[static_cast<size_t>(rank)]; }
  const Seat& seat(int rank) const { return seats_[static_cast<size_t>(rank)]; }

  void Seen(int rank, Time now);
  void Heard(int rank, Progress progress, Time now);
  /// Everybody was seen `gap` later: the server itself did not run for so long.
  void Forgive(std::chrono::nanoseconds gap);

  /// Ranks without a heartbeat for `suspect`, for the first time.
  std::vector<int> NewSuspects(Time now);
  /// A rank without a heartbeat for `dead`.
  std::optional<PeerFailure> FindDead(Time now) const;
  /// Some wait in an operation that others do not enter, or that does not end.
  std::optional<PeerFailure> FindStuck(Time now) const;

  /// What is known of `rank`, with its last operation.
  PeerFailure Describe(int rank, std::string reason) const;
  /// "rank 2 (host-b), rank 3".
  std::string Names(const std::vector<int>& ranks) const;
  std::string Name(int rank) const { return Names({rank}); }

 private:
  std::vector<Seat> seats_;
  Timers timers_;
};

/// Failures in the order in which the server learned of them.
class FailureRecord {
 public:
  /// A `consequence` is what a rank tells that suffers from another one's failure.
  void Add(PeerFailure failure, bool consequence);
  bool empty() const { return entries_.empty(); }
  /// Puts what a launcher knows (an exit status) before the reason that is recorded for `rank`.
  void Amend(int rank, std::string_view reason);
  bool Has(int rank) const;
  /// The root cause first: the first that is no consequence, then the others as they came.
  std::vector<PeerFailure> Sorted() const;

 private:
  struct Entry {
    PeerFailure failure;
    bool consequence = false;
  };
  std::vector<Entry> entries_;
};

/// "#1580 'all_reduce bucket 3'"; "" before the first.
std::string ToString(const Progress& progress);

}  // namespace ostria::control
