// SPDX-License-Identifier: Apache-2.0
#include "dist/control/stragglers.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace ostria::control {
namespace {

// Of an even number the smaller of the two in the middle: of two ranks, one is compared with the
// other.
template <class Of>
int64_t Median(const std::vector<RankPace>& ranks, const Of& of) {
  std::vector<int64_t> values;
  for (const RankPace& r : ranks) values.push_back(of(r));
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::string Milliseconds(int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g ms", static_cast<double>(ns) / 1e6);
  return text;
}

std::string Times(int64_t permille) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", static_cast<double>(permille) / 1000);
  return text;
}

int64_t TimeOf(const RankPace& r, Section section) {
  switch (section) {
    case Section::kInput: return r.input;
    case Section::kCompute: return r.compute;
    case Section::kComm: return r.comm;
    case Section::kBetween: return r.between;
  }
  return 0;
}

}  // namespace

std::string_view ToString(Section section) {
  switch (section) {
    case Section::kInput: return "input";
    case Section::kCompute: return "compute";
    case Section::kComm: return "comm";
    case Section::kBetween: return "between steps";
  }
  return "?";
}

Stragglers::Stragglers(int world, Timers::ms quiet)
    : ranks_(static_cast<size_t>(world)), quiet_(quiet) {}

std::vector<std::string> Stragglers::Heard(int rank, const Pace& pace, const Membership& members,
                                           Time now) {
  Rank& heard = ranks_[static_cast<size_t>(rank)];
  const bool was_ready = heard.is_ready();
  heard.now = pace;
  if (!heard.before && pace.steps > 0) heard.before = pace;
  if (was_ready || !heard.is_ready()) return {};
  if (++ready_ < static_cast<int>(ranks_.size())) return {};

  Compare();
  ready_ = 0;
  std::vector<std::string> lines;
  for (RankPace& r : latest_) {
    Rank& known = ranks_[static_cast<size_t>(r.rank)];
    const int64_t steps = known.now.steps - known.before->steps;
    known.before = known.now;
    const double score = static_cast<double>(r.score) / 1000;
    const bool slow = known.slow ? score >= kKeepsUp : score >= kSlow;
    if (slow == known.slow || (known.told && now - *known.told < quiet_)) continue;
    known.slow = slow;
    known.told = now;
    if (!slow) {
      lines.push_back(StrCat(members.Name(r.rank), " keeps up again: ", Times(r.score),
                             " times the median rank"));
      continue;
    }
    const auto median = [&](auto of) { return Milliseconds(Median(latest_, of)); };
    lines.push_back(StrCat(
        members.Name(r.rank), " is slow: ", Times(r.score), " times the median rank, in ", steps,
        " steps: without waiting for others one takes ", Milliseconds(r.own), ", and ",
        median([](const RankPace& x) { return x.own; }), " there; most of that is ",
        ToString(r.section), ", ", Milliseconds(TimeOf(r, r.section)), " and ",
        median([&](const RankPace& x) { return TimeOf(x, r.section); })));
  }
  return lines;
}

void Stragglers::Compare() {
  latest_.clear();
  int64_t exchange = INT64_MAX;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    const Rank& rank = ranks_[i];
    const Pace &from = *rank.before, &to = rank.now;
    const int64_t steps = to.steps - from.steps;
    RankPace r;
    r.rank = static_cast<int32_t>(i);
    r.steps = steps;
    r.input = (to.input - from.input) / steps;
    r.compute = (to.compute - from.compute) / steps;
    r.comm = (to.comm - from.comm) / steps;
    r.between = (to.between - from.between) / steps;
    exchange = std::min(exchange, r.comm);
    latest_.push_back(r);
  }
  for (size_t i = 0; i < latest_.size(); ++i) {
    RankPace& r = latest_[i];
    const Rank& rank = ranks_[i];
    // Data that are read ahead are there at once for a rank that waits for others all the same.
    const int64_t ahead = (rank.now.ahead - rank.before->ahead) / r.steps;
    const int64_t rest = r.compute + r.between + exchange;
    r.input = std::max(r.input, ahead - rest);
    r.own = r.input + rest;
  }
  const int64_t own = Median(latest_, [](const RankPace& r) { return r.own; });
  constexpr Section kSections[] = {Section::kInput, Section::kCompute, Section::kBetween};
  int64_t medians[3];
  for (int i = 0; i < 3; ++i) {
    medians[i] = Median(latest_, [&](const RankPace& r) { return TimeOf(r, kSections[i]); });
  }
  for (RankPace& r : latest_) {
    r.score = own > 0 ? r.own * 1000 / own : 1000;
    int64_t most = INT64_MIN;
    for (int i = 0; i < 3; ++i) {
      const int64_t more = TimeOf(r, kSections[i]) - medians[i];
      if (more <= most) continue;
      most = more;
      r.section = kSections[i];
    }
  }
}

}  // namespace ostria::control
