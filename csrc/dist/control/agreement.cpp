// SPDX-License-Identifier: Apache-2.0
#include "dist/control/agreement.h"

#include <algorithm>

namespace ostria::control {

void Agreement::Add(const Waiter& waiter, std::string fingerprint) {
  waiters_[waiter.rank] = waiter;
  const auto same = [&](const Group& g) { return g.fingerprint == fingerprint; };
  auto at = std::find_if(groups_.begin(), groups_.end(), same);
  if (at == groups_.end()) at = groups_.insert(at, Group{std::move(fingerprint), {}, {}});
  at->ranks.push_back(waiter.rank);
}

void Agreement::AddLines(int rank, std::vector<std::string> lines) {
  for (Group& g : groups_) {
    if (g.ranks[0] == rank) g.lines = std::move(lines);
  }
}

std::vector<int> Agreement::Speakers() const {
  std::vector<int> ranks;
  for (const Group& g : groups_) {
    if (ranks.size() < kShown) ranks.push_back(g.ranks[0]);
  }
  return ranks;
}

bool Agreement::HasAllLines() const {
  const auto end = groups_.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, groups_.size()));
  return std::all_of(groups_.begin(), end, [](const Group& g) { return g.lines.has_value(); });
}

std::string Agreement::Verdict(const Membership& members) const {
  std::vector<const Group*> known;
  size_t longest = 0;
  for (const Group& g : groups_) {
    if (!g.lines) continue;
    known.push_back(&g);
    longest = std::max(longest, g.lines->size());
  }
  const auto line = [](const Group& g, size_t i) -> std::string_view {
    return i < g.lines->size() ? std::string_view((*g.lines)[i]) : "(no such line)";
  };
  size_t at = 0;
  while (at < longest && std::all_of(known.begin(), known.end(), [&](const Group* g) {
           return g->lines->size() > at && line(*g, at) == line(*known[0], at);
         })) {
    ++at;
  }
  const bool shown = known.size() > 1 && at < longest;
  std::string text = shown ? StrCat("differs between ranks, first at line ", at + 1, ":")
                           : std::string("differs between ranks:");
  for (size_t i = 0; i < std::min(kShown, groups_.size()); ++i) {
    const Group& g = groups_[i];
    std::vector<int> ranks = g.ranks;
    std::sort(ranks.begin(), ranks.end());
    text += StrCat("\n  ", members.Names(ranks), ": ");
    if (shown && g.lines)
      text += StrCat("`", line(g, at), "`");
    else
      text += g.lines ? StrCat(g.lines->size(), " lines, equal to the others'") : "lines not known";
  }
  if (groups_.size() > kShown) text += StrCat("\n  and ", groups_.size() - kShown, " more kinds");
  return StrCat(text, "\nevery rank must run the same program, versions and options");
}

}  // namespace ostria::control
