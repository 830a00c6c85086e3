// SPDX-License-Identifier: Apache-2.0
// Which ranks hold the others up. All ranks of synchronous training take the same time for a step,
// for they wait for each other; what tells them apart is the time they do not wait. Of the time in
// collectives the least that any rank has is the exchange itself, and the rest is waiting. So is
// time in which data are read ahead; if nobody had to be waited for, reading would be.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dist/control/membership.h"

namespace ostria::control {

class Stragglers {
 public:
  static constexpr int64_t kWindow = 20;    // steps of every rank, at least
  static constexpr double kSlow = 1.3;      // times the median rank
  static constexpr double kKeepsUp = 1.15;  // again

  /// A rank that changes to and fro is told once in `quiet`.
  Stragglers(int world, Timers::ms quiet);

  /// What a heartbeat told. Returns a line for each rank that has become slow or keeps up again.
  std::vector<std::string> Heard(int rank, const Pace& pace, const Membership& members, Time now);
  /// Of the last whole window, in order of ranks; empty before the first.
  const std::vector<RankPace>& latest() const { return latest_; }

 private:
  struct Rank {
    std::optional<Pace> before;  // where the window begins
    Pace now;
    bool slow = false;
    std::optional<Time> told;
    bool is_ready() const { return before && now.steps - before->steps >= kWindow; }
  };
  void Compare();

  std::vector<Rank> ranks_;
  Timers::ms quiet_;
  int ready_ = 0;
  std::vector<RankPace> latest_;
};

}  // namespace ostria::control
