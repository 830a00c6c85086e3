// SPDX-License-Identifier: Apache-2.0
// Where a stage that runs ahead of its consumer stands: its input's position is noted every 64
// elements, and the rest is replayed. Positions are noted at absolute multiples, so that an
// interrupted and an uninterrupted run save the same text. Not synchronised.
#pragma once

#include <algorithm>
#include <deque>
#include <iterator>
#include <utility>

#include "data/stage.h"

namespace ostria::data {

class PositionLog {
 public:
  static constexpr int64_t kEvery = 64;

  /// `count` elements were produced; the input stands at `input`.
  void Start(int64_t count, const Stage& input) {
    noted_.clear();
    noted_.emplace_back(count, StateOf(input));
  }
  static bool Due(int64_t count) { return count % kEvery == 0; }
  static std::string StateOf(const Stage& input) {
    StateWriter writer;
    input.Save(writer);
    return writer.Take();
  }
  void Note(int64_t count, std::string state) { noted_.emplace_back(count, std::move(state)); }

  void Save(StateWriter& out, int64_t consumed) const {
    auto base = noted_.begin();
    while (std::next(base) != noted_.end() && std::next(base)->first <= consumed) ++base;
    out.Int(base->first);
    out.Int(consumed);
    out.Tokens(base->second);
  }
  /// Forgets what `consumed` has passed.
  void Consumed(int64_t consumed) {
    while (noted_.size() > 1 && noted_[1].first <= consumed) noted_.pop_front();
  }
  /// Brings `input` to the saved position and returns how many elements were consumed. When the
  /// consumer was at the end, the input is left where it was noted: only Restart follows.
  int64_t Restore(StateReader& in, Stage& input, bool ended) {
    const int64_t base = in.Int(0);
    const int64_t consumed = in.Int(base);
    input.Restore(in);
    Start(base, input);
    if (!ended && input.Skip(consumed - base) < consumed - base) {
      Fail(ErrorCode::kInvalidArgument, "the saved position is after element ", consumed,
           " of the input, but the input ended earlier; a resumed input must yield what it yielded "
           "before");
    }
    return consumed;
  }
  /// Skips up to n elements of an input that nobody runs ahead on; returns how many there were.
  int64_t Skip(Stage& input, int64_t consumed, int64_t n) {
    const int64_t boundary = (consumed + std::min(n, INT64_MAX - consumed)) / kEvery * kEvery;
    int64_t done = 0;
    if (boundary > consumed) {
      done = input.Skip(boundary - consumed);
      if (done < boundary - consumed) return done;
      Start(boundary, input);
    }
    return done + input.Skip(n - done);
  }

 private:
  std::deque<std::pair<int64_t, std::string>> noted_;
};

}  // namespace ostria::data
