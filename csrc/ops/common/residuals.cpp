// SPDX-License-Identifier: Apache-2.0
// The network, for y = f(x) of a forward node f:
//   begin --(operations of f)--> f --(bytes of y)--> y --(no end)--> readers of y, or the end
// What is behind the cut is computed again, so an edge from the beginning that is cut pays its
// operations, and one from a node to its result that is cut stacks the result.
#include "ops/common/residuals.h"

#include <algorithm>
#include <limits>

#include "ops/ops.h"

namespace ostria::ops {
namespace {

constexpr double kNever = 1e30;
// Operations while a byte goes to memory and back; 24 for an element of float32, as recompute.cpp.
constexpr double kFlopsPerByte = 6;
constexpr double kFlopsPerLaunch = 2e4;  // what the call of a kernel takes that no loop takes in
// Where sizes are symbols, only proportions count.
constexpr double kTypicalSize = 32;
constexpr double kTypicalFlops = 256;  // per element, of what is neither elementwise nor free

double Elements(const Graph& g, Value v) {
  double n = 1;
  for (const Dim d : g.shape(v)) n *= d.is_static() ? static_cast<double>(d.value()) : kTypicalSize;
  return n;
}

double Bytes(const Graph& g, Value v) {
  return Elements(g, v) * static_cast<double>(SizeOf(g.dtype(v)));
}

double CostOfRunning(const Graph& g, NodeId n) {
  const OpDef& op = g.op(n);
  if (op.traits.ordered || !op.traits.pure) return kNever;
  if (op.traits.view || op.flops == &NoFlops || g.num_operands(n) == 0) return 0;
  double elements = 0;
  bool is_static = true;
  for (int i = 0; i < g.num_results(n); ++i) {
    elements += Elements(g, g.result(n, i));
    is_static &= g.shape(g.result(n, i)).is_static();
  }
  for (const Value v : g.operands(n)) is_static &= g.shape(v).is_static();
  if (op.traits.elementwise) return elements;
  return kFlopsPerLaunch + (is_static ? Flops(g, n) : kTypicalFlops * elements);
}

// Maximum flow by shortest augmenting paths, level by level (Dinic 1970).
class Network {
 public:
  explicit Network(int nodes) : edges_of_(static_cast<size_t>(nodes)) {}

  void Add(int from, int to, double capacity) {
    edges_of_[from].push_back(static_cast<int>(edges_.size()));
    edges_.push_back({to, capacity});
    edges_of_[to].push_back(static_cast<int>(edges_.size()));
    edges_.push_back({from, 0});
  }

  /// Whether each node is on the side of `begin` of a minimum cut.
  std::vector<bool> Cut(int begin, int end) {
    while (Levels(begin)[end] >= 0) {
      next_.assign(edges_of_.size(), 0);
      while (Push(begin, end, kNever) > 0) {
      }
    }
    std::vector<bool> side;
    for (const int level : level_) side.push_back(level >= 0);
    return side;
  }

 private:
  struct Edge {
    int to;
    double capacity;
  };

  const std::vector<int>& Levels(int begin) {
    level_.assign(edges_of_.size(), -1);
    std::vector<int> open = {begin};
    level_[begin] = 0;
    for (size_t at = 0; at < open.size(); ++at) {
      for (const int e : edges_of_[open[at]]) {
        if (edges_[e].capacity <= 0 || level_[edges_[e].to] >= 0) continue;
        level_[edges_[e].to] = level_[open[at]] + 1;
        open.push_back(edges_[e].to);
      }
    }
    return level_;
  }

  // One path of at most `limit`. Depth is the longest chain of nodes of a body.
  double Push(int from, int end, double limit) {
    if (from == end) return limit;
    for (size_t& i = next_[from]; i < edges_of_[from].size(); ++i) {
      const int e = edges_of_[from][i];
      if (edges_[e].capacity <= 0 || level_[edges_[e].to] != level_[from] + 1) continue;
      const double pushed = Push(edges_[e].to, end, std::min(limit, edges_[e].capacity));
      if (pushed <= 0) continue;
      edges_[e].capacity -= pushed;
      edges_[e ^ 1].capacity += pushed;
      return pushed;
    }
    return 0;
  }

  std::vector<Edge> edges_;
  std::vector<std::vector<int>> edges_of_;
  std::vector<int> level_;
  std::vector<size_t> next_;
};

}  // namespace

std::vector<bool> ChooseRecomputed(const Graph& g, const ResidualQuestion& question) {
  const int nodes = g.node_capacity(), values = question.forward_values;
  const int begin = nodes + values, end = begin + 1;
  const auto at = [&](Value v) { return nodes + v.id; };
  Network network(end + 1);
  for (const Value v : g.inputs()) {
    if (v.id >= values) continue;
    if (!question.is_given[v.id]) network.Add(begin, at(v), kFlopsPerByte * Bytes(g, v));
    if (question.needed[v.id]) network.Add(at(v), end, kNever);
  }
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    if (g.result(n).id >= values) continue;
    network.Add(begin, n.id, CostOfRunning(g, n));
    for (const Value v : g.operands(n)) network.Add(at(v), n.id, kNever);
    for (int i = 0; i < g.num_results(n); ++i) {
      const Value y = g.result(n, i);
      network.Add(n.id, at(y), kFlopsPerByte * Bytes(g, y));
      if (question.needed[y.id]) network.Add(at(y), end, kNever);
    }
  }
  const std::vector<bool> before = network.Cut(begin, end);
  std::vector<bool> again(static_cast<size_t>(nodes));
  for (int n = 0; n < nodes; ++n) again[n] = !before[n];
  return again;
}

}  // namespace ostria::ops
