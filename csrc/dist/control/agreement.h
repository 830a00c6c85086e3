// SPDX-License-Identifier: Apache-2.0
// Fingerprints that ranks give under one name, and the text that shows where they differ. The
// lines behind a fingerprint are asked of one rank for each distinct fingerprint, and only then.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dist/control/membership.h"

namespace ostria::control {

/// Somebody who waits for an answer.
struct Waiter {
  uint64_t connection = 0, id = 0;
  int rank = -1;
  Time deadline{};
  Timers::ms timeout{};
};

class Agreement {
 public:
  void Add(const Waiter& waiter, std::string fingerprint);
  void AddLines(int rank, std::vector<std::string> lines);

  const std::map<int, Waiter>& waiters() const { return waiters_; }
  bool differs() const { return groups_.size() > 1; }
  /// One rank of each group, the first that came; at most kShown groups.
  std::vector<int> Speakers() const;
  /// All that Speakers() named have given their lines.
  bool HasAllLines() const;
  /// "differ at line 3: rank 0 (a), rank 1 (b): `…`; rank 2 (c): `…`".
  std::string Verdict(const Membership& members) const;

  std::optional<Time> asked;      // when the lines were asked for
  std::optional<Time> different;  // when the first difference was seen

 private:
  static constexpr size_t kShown = 8;
  struct Group {
    std::string fingerprint;
    std::vector<int> ranks;
    std::optional<std::vector<std::string>> lines;
  };
  std::vector<Group> groups_;
  std::map<int, Waiter> waiters_;
};

}  // namespace ostria::control
