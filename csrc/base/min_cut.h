// SPDX-License-Identifier: Apache-2.0
// The cheapest edges of a directed network without which nothing leads from its beginning to its
// end. Equal to the maximum flow, which is found by shortest augmenting paths, level by level
// (E. Dinic, "Algorithm for solution of a problem of maximum flow in networks", 1970).
#pragma once

#include <cstddef>
#include <vector>

namespace ostria {

class MinCut {
 public:
  /// The cost of an edge that is never cut.
  static constexpr double kNever = 1e30;

  /// Nodes 0 and 1.
  static constexpr int kBegin = 0, kEnd = 1;

  explicit MinCut(int nodes = 2) : edges_of_(static_cast<size_t>(nodes)) {}
  int AddNode();
  void AddEdge(int from, int to, double cost);

  /// The cost of the cut; exact where costs are integers below 2^53.
  double Run();
  /// By node, after Run: whether it is still reached from the beginning.
  std::vector<bool> Reached() const;

 private:
  struct Edge {
    int to;
    double room;
  };
  void FindLevels();
  double Push(int from, double limit);

  std::vector<Edge> edges_;  // an edge and, next to it, its reverse
  std::vector<std::vector<int>> edges_of_;
  std::vector<int> level_;
  std::vector<size_t> next_;
};

}  // namespace ostria
