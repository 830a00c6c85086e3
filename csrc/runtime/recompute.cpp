// SPDX-License-Identifier: Apache-2.0
//   y = f(x); ... peak ...; use(y)   ->   y = f(x); ... peak ...; y' = f(x); use(y')
// Only of values that are there anyway at the late reader: no lifetime but that of y' grows.
#include "runtime/recompute.h"

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ir/bytes.h"
#include "ops/ops.h"
#include "passes/match.h"

namespace ostria {
namespace {

constexpr double kCheapFlops = 24;  // per element: a normalisation, not a product of matrices
constexpr int kLongestSegment = 48;
constexpr int kPatience = 24;  // rounds that may pass without a lower peak

struct Liveness {
  std::vector<NodeId> order;
  std::vector<int> position;  // node -> place in order
  std::vector<int> root;      // value -> the value whose memory it uses
  std::vector<int> first, last;
  std::vector<int64_t> bytes;
  int64_t peak = 0;
  int at = 0;  // where the peak is
};

Liveness Analyse(const Graph& g) {
  Liveness l;
  const auto values = static_cast<size_t>(g.value_capacity());
  l.position.assign(static_cast<size_t>(g.node_capacity()), -1);
  l.root.resize(values);
  l.first.assign(values, -1);
  l.last.assign(values, -1);
  l.bytes.assign(values, 0);
  for (size_t i = 0; i < values; ++i) l.root[i] = static_cast<int>(i);
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    const int at = static_cast<int>(l.order.size());
    l.position[n.id] = at;
    l.order.push_back(n);
    for (const Value v : g.operands(n)) l.last[l.root[v.id]] = at;
    for (int i = 0; i < g.num_results(n); ++i) {
      const Value v = g.result(n, i);
      if (SharesMemory(g, n)) {
        l.root[v.id] = l.root[g.operand(n, 0).id];
        continue;
      }
      l.first[v.id] = l.last[v.id] = at;
      if (!g.is(n, ops::kConstant)) l.bytes[v.id] = Bytes(g, v);
    }
  }
  const int end = static_cast<int>(l.order.size());
  for (const Value v : g.outputs()) l.last[l.root[v.id]] = end;
  for (const StateEntry& s : g.state()) l.last[l.root[s.out.id]] = end;
  std::vector<int64_t> change(static_cast<size_t>(end) + 2);
  for (size_t i = 0; i < values; ++i) {
    if (l.first[i] < 0) continue;
    change[static_cast<size_t>(l.first[i])] += l.bytes[i];
    change[static_cast<size_t>(l.last[i]) + 1] -= l.bytes[i];
  }
  int64_t live = 0;
  for (int i = 0; i < end; ++i) {
    live += change[static_cast<size_t>(i)];
    if (live > l.peak) l.peak = live, l.at = i;
  }
  return l;
}

// What has to run to have some values at a place: nodes in program order.
struct Segment {
  std::vector<NodeId> nodes;
  double flops = 0;
  bool cheap = true;
};

bool Collect(const Graph& g, const Liveness& l, Value v, int at, Segment* s) {
  const NodeId n = g.producer(v);
  if (!n.valid() || std::find(s->nodes.begin(), s->nodes.end(), n) != s->nodes.end()) return true;
  if (!s->nodes.empty() && l.last[l.root[v.id]] >= at) return true;  // it is there anyway
  const OpDef& op = g.op(n);
  if (&op == &ops::kConstant) return true;
  if (!op.traits.pure || op.traits.ordered) return false;
  if (static_cast<int>(s->nodes.size()) >= kLongestSegment) return false;
  s->nodes.push_back(n);
  const double flops = Flops(g, n);
  s->flops += flops;
  s->cheap &= flops <= kCheapFlops * static_cast<double>(g.shape(v).numel());
  for (const Value x : g.operands(n)) {
    if (!Collect(g, l, x, at, s)) return false;
  }
  return true;
}

// A value that is kept over the peak, under all its names, and how to have each of them again.
struct Candidate {
  std::vector<std::pair<Value, Segment>> names;
  int at = 0;  // place of the first late reader
  double gain = 0;
  bool cheap = true;
};

template <class Fn>
void ForUses(const Graph& g, const Liveness& l, Value v, const Fn& fn) {
  for (int p = l.at + 1; p < static_cast<int>(l.order.size()); ++p) {
    const NodeId n = l.order[static_cast<size_t>(p)];
    for (int i = 0; i < g.num_operands(n); ++i) {
      if (g.operand(n, i) == v) fn(Use{n, i});
    }
  }
}

bool Evaluate(const Graph& g, const Liveness& l, const std::vector<Value>& names, Candidate* c) {
  const int end = static_cast<int>(l.order.size());
  c->at = end;
  std::vector<Value> late;
  for (const Value v : names) {
    bool any = false;
    ForUses(g, l, v, [&](const Use& use) {
      // A view made late of it is another name, and moves with its own readers.
      any = true;
      c->at = std::min(c->at, l.position[use.user.id]);
    });
    if (any && l.position[g.producer(v).id] <= l.at) late.push_back(v);
  }
  if (late.empty()) return false;
  double flops = 0;
  for (const Value v : late) {
    Segment s;
    if (!Collect(g, l, v, c->at, &s)) return false;
    // Other names of the same memory may be in the segment: it must be made, not found.
    for (size_t i = 0; i < s.nodes.size(); ++i) {
      for (const Value x : g.operands(s.nodes[i])) {
        const NodeId made = g.producer(x);
        if (l.root[x.id] == l.root[v.id] && made.valid() &&
            std::find(s.nodes.begin(), s.nodes.end(), made) == s.nodes.end()) {
          if (!g.op(made).traits.pure || g.op(made).traits.ordered) return false;
          s.nodes.push_back(made);
          s.flops += Flops(g, made);
          for (const Value y : g.operands(made)) {
            if (!Collect(g, l, y, c->at, &s)) return false;
          }
        }
      }
    }
    std::sort(s.nodes.begin(), s.nodes.end(),
              [&](NodeId a, NodeId b) { return l.position[a.id] < l.position[b.id]; });
    flops += s.flops;
    c->cheap &= s.cheap;
    c->names.emplace_back(v, std::move(s));
  }
  c->gain = static_cast<double>(l.bytes[l.root[late[0].id]]) / (1.0 + flops);
  return true;
}

int Apply(Graph& g, const Liveness& l, const Candidate& c) {
  const NodeId before = l.order[static_cast<size_t>(c.at)];
  std::unordered_map<int32_t, Value> again;
  std::vector<std::pair<Use, Value>> moves;
  int added = 0;
  for (const auto& [v, segment] : c.names) {
    for (const NodeId n : segment.nodes) {
      if (again.contains(g.result(n, 0).id)) continue;
      std::vector<Value> operands = g.operands(n);
      for (Value& x : operands) {
        if (const auto it = again.find(x.id); it != again.end()) x = it->second;
      }
      std::vector<ValueType> types;
      for (int i = 0; i < g.num_results(n); ++i) types.push_back(g.type(g.result(n, i)));
      const std::vector<Attr> attrs(g.attrs(n).begin(), g.attrs(n).end());
      const NodeId m = g.AddTypedNode(g.op(n), operands, attrs, types,
                                      Derive(g.location(n), "recomputed"), before);
      for (int i = 0; i < g.num_results(n); ++i) again[g.result(n, i).id] = g.result(m, i);
      ++added;
    }
    ForUses(g, l, v, [&, v = v](const Use& use) { moves.emplace_back(use, again.at(v.id)); });
  }
  for (const auto& [use, value] : moves) g.SetOperand(use.user, use.operand, value);
  return added;
}

// The best value to compute again: cheap ones before others, then most bytes per operation.
bool Find(const Graph& g, const Liveness& l, Candidate* best) {
  const int end = static_cast<int>(l.order.size());
  std::unordered_map<int, std::vector<Value>> kept;
  for (int p = 0; p <= l.at && p < end; ++p) {
    const NodeId n = l.order[static_cast<size_t>(p)];
    for (int i = 0; i < g.num_results(n); ++i) {
      const int r = l.root[g.result(n, i).id];
      if (l.first[r] >= 0 && l.first[r] < l.at && l.last[r] > l.at && l.last[r] < end &&
          l.bytes[r] > 0) {
        kept[r].push_back(g.result(n, i));
      }
    }
  }
  std::vector<int> roots;
  for (const auto& [r, names] : kept) roots.push_back(r);
  std::sort(roots.begin(), roots.end());
  bool found = false;
  for (const int r : roots) {
    Candidate c;
    if (!Evaluate(g, l, kept[r], &c)) continue;
    if (!found || std::pair(c.cheap, c.gain) > std::pair(best->cheap, best->gain)) {
      *best = std::move(c);
      found = true;
    }
  }
  return found;
}

}  // namespace

int64_t EstimatePeak(const Graph& graph) { return Analyse(graph).peak; }

int RecomputeUntil(Graph* graph, int64_t target) {
  Graph work = graph->Clone();
  int64_t lowest = EstimatePeak(work);
  int added = 0, kept = 0, waited = 0;
  const int most = 4 * graph->num_nodes();  // a second run of everything is not the way
  while (lowest > target && waited < kPatience && added < most) {
    const Liveness l = Analyse(work);
    Candidate c;
    if (!Find(work, l, &c)) break;
    added += Apply(work, l, c);
    const int64_t peak = EstimatePeak(work);
    ++waited;
    if (peak < lowest) {
      lowest = peak;
      kept = added;
      waited = 0;
      *graph = work.Clone();
    }
  }
  return kept;
}

}  // namespace ostria
