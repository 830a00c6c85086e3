// SPDX-License-Identifier: Apache-2.0
#include "base/min_cut.h"

#include <algorithm>

namespace ostria {

int MinCut::AddNode() {
  edges_of_.emplace_back();
  return static_cast<int>(edges_of_.size()) - 1;
}

void MinCut::AddEdge(int from, int to, double cost) {
  edges_of_[from].push_back(static_cast<int>(edges_.size()));
  edges_.push_back({to, cost});
  edges_of_[to].push_back(static_cast<int>(edges_.size()));
  edges_.push_back({from, 0});
}

double MinCut::Run() {
  double flow = 0;
  while (FindLevels(), level_[kEnd] >= 0) {
    next_.assign(edges_of_.size(), 0);
    while (const double more = Push(kBegin, kNever)) flow += more;
  }
  return flow;
}

std::vector<bool> MinCut::Reached() const {
  std::vector<bool> out;
  for (const int level : level_) out.push_back(level >= 0);
  return out;
}

void MinCut::FindLevels() {
  level_.assign(edges_of_.size(), -1);
  std::vector<int> open = {kBegin};
  level_[kBegin] = 0;
  for (size_t at = 0; at < open.size(); ++at) {
    for (const int e : edges_of_[open[at]]) {
      if (edges_[e].room <= 0 || level_[edges_[e].to] >= 0) continue;
      level_[edges_[e].to] = level_[open[at]] + 1;
      open.push_back(edges_[e].to);
    }
  }
}

// One path of at most `limit`. Its depth is the longest chain of the network.
double MinCut::Push(int from, double limit) {
  if (from == kEnd) return limit;
  for (size_t& i = next_[from]; i < edges_of_[from].size(); ++i) {
    const int e = edges_of_[from][i];
    if (edges_[e].room <= 0 || level_[edges_[e].to] != level_[from] + 1) continue;
    const double pushed = Push(edges_[e].to, std::min(limit, edges_[e].room));
    if (pushed <= 0) continue;
    edges_[e].room -= pushed;
    edges_[e ^ 1].room += pushed;
    return pushed;
  }
  return 0;
}

}  // namespace ostria
