// SPDX-License-Identifier: Apache-2.0
#include "runtime/streams.h"

#include <algorithm>
#include <map>

#include "runtime/accesses.h"

namespace ostria {
namespace {

using Clock = std::vector<int32_t>;  // by stream: the last step that is done, or -1

void Join(Clock* clock, const Clock& other) {
  for (size_t i = 0; i < clock->size(); ++i) (*clock)[i] = std::max((*clock)[i], other[i]);
}

// The steps that touched each range of bytes last: its writer, and its readers since.
class Touched {
 public:
  /// The steps that must be done before `access` of step `step` may happen; then it has.
  void Add(const Access& access, int32_t step, std::vector<int32_t>* before) {
    std::map<int64_t, Range>& ranges = memory_[{access.region, access.index}];
    Split(ranges, access.begin);
    Split(ranges, access.end);
    auto it = ranges.lower_bound(access.begin);
    for (int64_t at = access.begin; at < access.end;) {
      if (it == ranges.end() || it->first > at) {  // untouched so far
        const int64_t end = it == ranges.end() ? access.end : std::min(access.end, it->first);
        it = ranges.emplace_hint(it, at, Range{end, -1, {}});
      }
      Range& r = it->second;
      if (r.writer >= 0 && r.writer != step) before->push_back(r.writer);
      if (access.write) {
        for (int32_t reader : r.readers) {
          if (reader != step) before->push_back(reader);
        }
        r.readers.clear();
        r.writer = step;
      } else if (r.readers.empty() || r.readers.back() != step) {
        r.readers.push_back(step);
      }
      at = r.end;
      ++it;
    }
  }

 private:
  struct Range {
    int64_t end;
    int32_t writer;
    std::vector<int32_t> readers;
  };

  static void Split(std::map<int64_t, Range>& ranges, int64_t at) {
    auto it = ranges.lower_bound(at);
    if (it == ranges.begin() || (it != ranges.end() && it->first == at)) return;
    --it;
    if (it->second.end <= at) return;
    Range right = it->second;
    it->second.end = at;
    ranges.emplace(at, std::move(right));
  }

  std::map<std::pair<Region, int32_t>, std::map<int64_t, Range>> memory_;
};

class Assignment {
 public:
  Assignment(Plan* plan, int most) : plan_(*plan), tails_(static_cast<size_t>(most), -1) {}

  void Run() {
    Touched touched;
    const auto count = static_cast<int32_t>(plan_.steps.size());
    done_.assign(plan_.steps.size(), Clock(tails_.size(), -1));
    for (int32_t i = 0; i < count; ++i) {
      Step& step = plan_.steps[i];
      std::vector<int32_t> before;
      for (const Access& a : AccessesOf(plan_, step)) touched.Add(a, i, &before);
      std::sort(before.begin(), before.end(), std::greater<>());
      before.erase(std::unique(before.begin(), before.end()), before.end());
      step.stream = i < plan_.num_kept ? 0 : Choose(before);
      step.waits.clear();
      Clock known = Tail(step.stream);
      if (plan_.num_kept > 0 && i >= plan_.num_kept)
        known[0] = std::max(known[0], plan_.num_kept - 1);
      for (int32_t b : before) {  // the latest first: it may know of the others
        if (known[plan_.steps[b].stream] >= b) continue;
        step.waits.push_back(b);
        Join(&known, done_[b]);
      }
      known[step.stream] = i;
      done_[i] = std::move(known);
      tails_[step.stream] = i;
    }
    plan_.num_streams = 1;
    for (const Step& s : plan_.steps) plan_.num_streams = std::max(plan_.num_streams, s.stream + 1);
  }

 private:
  Clock Tail(int32_t stream) const {
    return tails_[stream] < 0 ? Clock(tails_.size(), -1) : done_[tails_[stream]];
  }

  int32_t Choose(const std::vector<int32_t>& before) const {
    for (int32_t b : before) {
      if (tails_[plan_.steps[b].stream] == b) return plan_.steps[b].stream;
    }
    // One that has done nothing the step need not wait for anyway, or the one that ended first.
    Clock known(tails_.size(), -1);
    for (int32_t b : before) Join(&known, done_[b]);
    int32_t first = 0;
    for (int32_t s = 0; s < static_cast<int32_t>(tails_.size()); ++s) {
      if (tails_[s] <= known[s]) return s;
      if (tails_[s] < tails_[first]) first = s;
    }
    return first;
  }

  Plan& plan_;
  std::vector<int32_t> tails_;  // by stream: its last step, or -1
  std::vector<Clock> done_;     // by step: what is done when it is
};

}  // namespace

void AssignStreams(Plan* plan, int most) { Assignment(plan, std::max(most, 1)).Run(); }

HappensBefore::HappensBefore(const Plan& plan) : plan_(plan) {
  const auto streams = static_cast<size_t>(plan.num_streams);
  std::vector<Clock> tails(streams,
                           Clock(streams, -1));  // what is done when a stream's last step is
  std::vector<Clock> done;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& s = plan.steps[i];
    Clock known = tails[s.stream];
    if (static_cast<int32_t>(i) >= plan.num_kept) known[0] = std::max(known[0], plan.num_kept - 1);
    for (int32_t w : s.waits) Join(&known, done[w]);
    known_.push_back(known);
    known[s.stream] = static_cast<int32_t>(i);
    tails[s.stream] = known;
    done.push_back(std::move(known));
  }
}

bool HappensBefore::Ordered(size_t earlier, size_t later) const {
  return known_[later][plan_.steps[earlier].stream] >= static_cast<int32_t>(earlier);
}

}  // namespace ostria
