// SPDX-License-Identifier: Apache-2.0
// cse: of pure nodes with the same op, attributes and operands only the first stays. Random ops are
// pure functions of their key, so equal draws are merged and different ones are not.
#include <algorithm>
#include <unordered_map>

#include "passes/pass.h"

namespace ostria {
namespace {

struct Node {
  NodeId id;
  const Graph* graph;

  std::vector<Value> Operands() const {
    std::vector<Value> v = graph->operands(id);
    if (graph->op(id).traits.commutative && v.size() == 2 && v[0].id > v[1].id)
      std::swap(v[0], v[1]);
    return v;
  }
};

uint64_t Mix(uint64_t h, uint64_t x) {
  h = (h ^ x) * 0x9e3779b97f4a7c15ull;
  return h ^ (h >> 32);
}

uint64_t HashOf(const Node& n) {
  const Graph& g = *n.graph;
  uint64_t h = reinterpret_cast<uintptr_t>(&g.op(n.id));
  for (const Value v : n.Operands()) h = Mix(h, static_cast<uint64_t>(v.id));
  for (const Attr& a : g.attrs(n.id)) h = Mix(h, HashAttr(a));
  return h;
}

bool Same(const Node& a, const Node& b) {
  const Graph& g = *a.graph;
  if (&g.op(a.id) != &g.op(b.id) || a.Operands() != b.Operands()) return false;
  return std::equal(g.attrs(a.id).begin(), g.attrs(a.id).end(), g.attrs(b.id).begin(),
                    g.attrs(b.id).end(), SameAttr);
}

}  // namespace

bool MergeCommonSubexpressions(Graph& graph, const PassContext&) {
  std::unordered_multimap<uint64_t, NodeId> seen;
  seen.reserve(static_cast<size_t>(graph.num_nodes()));
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId next = graph.next(n);
    const Traits& traits = graph.op(n).traits;
    if (traits.pure && !traits.ordered) {
      const Node node{n, &graph};
      const uint64_t hash = HashOf(node);
      auto [it, end] = seen.equal_range(hash);
      while (it != end && !Same({it->second, &graph}, node)) ++it;
      if (it == end) {
        seen.emplace(hash, n);
      } else {
        for (int i = 0; i < graph.num_results(n); ++i) {
          graph.ReplaceAllUses(graph.result(n, i), graph.result(it->second, i));
        }
        graph.Erase(n);
        changed = true;
      }
    }
    n = next;
  }
  return changed;
}

}  // namespace ostria
