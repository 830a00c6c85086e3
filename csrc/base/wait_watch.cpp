// SPDX-License-Identifier: Apache-2.0
#include "base/wait_watch.h"

#include <algorithm>

namespace ostria {
namespace {

constexpr int64_t kMillisecond = 1'000'000, kSecond = 1'000'000'000;
// A scheduler's slice is some milliseconds: a wait of less is no sign of a neighbour.
constexpr int64_t kShortest = kMillisecond, kTimesWork = 3;
// Of a second: a housekeeping process takes a few hundredths now and then, a neighbour nearly all.
constexpr int64_t kMuch = kSecond / 5;
constexpr int kMany = 4;  // one long wait is a laptop that slept
constexpr int64_t kFirstHold = 2 * kSecond, kLongestHold = 64 * kSecond;

}  // namespace

bool WaitWatch::Note(int64_t now, int64_t took, int64_t work) {
  if (until_ != 0 || took < kShortest + kTimesWork * work) return until_ != 0;
  if (overruns_ == 0 || now - first_ > kSecond) {
    first_ = now;
    overruns_ = 0;
    wasted_ = 0;
  }
  wasted_ += took - work;
  if (++overruns_ < kMany || wasted_ < kMuch) return false;
  overruns_ = 0;
  // Trying again costs a few overruns: less and less often while the neighbour stays.
  const bool again = hold_ != 0 && now - left_ < hold_;
  hold_ = again ? std::min(2 * hold_, kLongestHold) : kFirstHold;
  until_ = now + hold_;
  return true;
}

bool WaitWatch::Sleeping(int64_t now) {
  if (until_ != 0 && now >= until_) {
    until_ = 0;
    left_ = now;
  }
  return until_ != 0;
}

}  // namespace ostria
