// SPDX-License-Identifier: Apache-2.0
// A stage is what lies between libraries: loops of stage s run before the libraries of stage s, and
// those of stage s + 1 may read their results.
#include "runtime/fused_bound.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "base/min_cut.h"
#include "ir/builder.h"
#include "ir/bytes.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "runtime/moved_bytes.h"

namespace ostria {
namespace {

constexpr int kDeepest = 8;             // elementwise ops that are run again for one value
constexpr size_t kMostUsers = 64;       // a value with more is read by somebody anyway
constexpr size_t kMostExplored = 1024;  // values; beyond, nothing is counted: it stays a bound

bool IsLoop(const Graph& g, NodeId n) {
  const Traits& t = g.op(n).traits;
  return t.elementwise || t.loop || IsFold(g, n) || g.is(n, ops::kBroadcastTo);
}
bool IsMap(const Graph& g, NodeId n) {
  return g.op(n).traits.elementwise || g.is(n, ops::kBroadcastTo);
}

// A value that loops cannot read in the stage that makes it.
bool EndsStage(const Graph& g, Value v) {
  const NodeId n = g.producer(v);
  if (!n.valid() || !IsLoop(g, n) || g.op(n).traits.elementwise) return false;
  if (IsFold(g, n)) {
    return g.shape(g.operand(n, 0)).rank() > 0 && ReducedAxes(g, n).front() == 0;
  }
  const Shape& in = g.shape(g.operand(n, 0));
  const Shape& out = g.shape(v);
  if (g.num_operands(n) == 0 || in.rank() == 0 || out.numel() == in.numel()) return false;
  const Dim first = in[0];  // kept by a fold over the last axes
  return out.rank() == 0 || !(out[0] == first) || first == Dim(1);
}

// `kept`: nodes that do not run every time; those of their bodies do not either.
Graph Flatten(const Graph& graph, std::vector<bool>* kept) {
  Graph g = graph.Clone();
  for (NodeId n = g.first(); n.valid();) {
    const NodeId next = g.next(n);
    if (g.is(n, ops::kFused)) {
      const std::vector<Value> operands = g.operands(n);
      const std::vector<Value> results = Inline(g, *g.attr<Body>(n, 0), operands, n, g.location(n));
      for (int i = 0; i < g.num_results(n); ++i) g.ReplaceAllUses(g.result(n, i), results[i]);
      kept->resize(static_cast<size_t>(g.node_capacity()), (*kept)[n.id]);
      g.Erase(n);
    }
    n = next;
  }
  return g;
}

class Bound {
 public:
  Bound(const Graph& graph, std::vector<bool> kept)
      : kept_(std::move(kept)),
        g_(Flatten(graph, &kept_)),
        stage_(static_cast<size_t>(g_.node_capacity())),
        root_(static_cast<size_t>(g_.value_capacity())),
        users_(static_cast<size_t>(g_.value_capacity())),
        leaves_(static_cast<size_t>(g_.value_capacity())),
        guest_(static_cast<size_t>(g_.value_capacity()), -1),
        guest_stage_(static_cast<size_t>(g_.value_capacity()), -1),
        absorbed_(static_cast<size_t>(g_.value_capacity())),
        wanted_(static_cast<size_t>(g_.node_capacity())) {
    std::iota(root_.begin(), root_.end(), 0);
  }

  int64_t Run() {
    FindStages();
    for (NodeId n = g_.last(); n.valid(); n = g_.previous(n)) Sink(n);
    Absorb();
    for (NodeId n = g_.last(); n.valid(); n = g_.previous(n)) FindWanted(n);
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) Count(n);
    std::map<int32_t, int> stages;  // how many may read a value that is not written anyway
    for (auto& [stage, network] : again_) {
      for (const auto& [v, depth] : network) ++stages[v];
    }
    for (const auto& [stage, network] : again_) bytes_ += CheapestReads(stage, network, stages);
    return bytes_;
  }

 private:
  Value Root(Value v) const { return Value{root_[v.id]}; }
  bool Runs(NodeId n) const {
    return n.valid() && !kept_[n.id] && !SharesMemory(g_, n) && !g_.is(n, ops::kConstant) &&
           !g_.is(n, ops::kFull);
  }
  bool IsNumber(Value v) const {
    const NodeId p = g_.producer(v);
    return p.valid() && (g_.is(p, ops::kFull) || g_.shape(v).numel() == 1);
  }
  bool MadeByLoop(Value v) const {
    const NodeId p = g_.producer(v);
    return Runs(p) && IsLoop(g_, p);
  }
  bool MadeByLibrary(Value v) const { return Runs(g_.producer(v)) && !MadeByLoop(v); }
  // Whether a loop of the stage has the value without reading it.
  bool IsAtHand(Value v, int stage) const {
    return IsNumber(v) ||
           (MadeByLoop(v) && !EndsStage(g_, v) && stage_[g_.producer(v).id] == stage);
  }
  bool MayRunAgain(Value v) const { return MadeByLoop(v) && IsMap(g_, g_.producer(v)); }

  // --- Stages ---
  void FindStages() {
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (SharesMemory(g_, n)) root_[g_.result(n).id] = root_[g_.operand(n, 0).id];
      int stage = 0;
      for (const Value x : g_.operands(n)) {
        const Value v = Root(x);
        if (Runs(n)) users_[v.id].push_back(n);
        const NodeId p = g_.producer(v);
        if (!Runs(p)) continue;
        const bool after = !IsLoop(g_, p) || EndsStage(g_, v);
        stage = std::max(stage, stage_[p.id] + (after ? 1 : 0));
      }
      stage_[n.id] = stage;
      last_stage_ = std::max(last_stage_, stage);
    }
    for (Value v : g_.outputs()) leaves_[Root(v).id] = true;
    for (const StateEntry& s : g_.state()) leaves_[Root(s.out).id] = true;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (!Runs(n) || IsLoop(g_, n)) continue;
      for (const Value x : g_.operands(n)) leaves_[Root(x).id] = true;
    }
  }

  // A loop that nobody waits for runs where another one reads what it reads.
  void Sink(NodeId n) {
    if (!Runs(n) || !IsLoop(g_, n)) return;
    int latest = last_stage_;
    for (int i = 0; i < g_.num_results(n); ++i) {
      const Value v = g_.result(n, i);
      for (NodeId u : users_[v.id]) {
        latest = std::min(latest, stage_[u.id] - (IsLoop(g_, u) && EndsStage(g_, v) ? 1 : 0));
      }
    }
    int best = stage_[n.id];
    int64_t least = ReadsAt(n, best);
    std::set<int> others;
    for (const Value x : g_.operands(n)) {
      const Value v = Root(x);
      if (IsNumber(v) || users_[v.id].size() > kMostUsers) continue;
      for (NodeId u : users_[v.id]) {
        if (IsLoop(g_, u) && stage_[u.id] > stage_[n.id] && stage_[u.id] <= latest)
          others.insert(stage_[u.id]);
      }
    }
    for (int stage : others) {
      const int64_t reads = ReadsAt(n, stage);
      if (reads < least) best = stage, least = reads;
    }
    stage_[n.id] = best;
  }
  int64_t ReadsAt(NodeId n, int stage) const {
    int64_t bytes = 0;
    for (const Value x : g_.operands(n)) {
      const Value v = Root(x);
      const std::vector<NodeId>& users = users_[v.id];
      const bool shared = IsAtHand(v, stage) || users.size() > kMostUsers ||
                          std::any_of(users.begin(), users.end(), [&](NodeId u) {
                            return !(u == n) && IsLoop(g_, u) && stage_[u.id] == stage;
                          });
      if (!shared) bytes += Bytes(g_, v);
    }
    return bytes;
  }

  // --- Groups of loops that run in the library before them ---
  int Find(int n) {
    while (group_[n] != n) n = group_[n] = group_[group_[n]];
    return n;
  }
  void Absorb() {
    group_.resize(static_cast<size_t>(g_.node_capacity()));
    std::iota(group_.begin(), group_.end(), 0);
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (!Runs(n) || !IsLoop(g_, n)) continue;
      for (const Value x : g_.operands(n)) {
        const Value v = Root(x);
        if (!IsNumber(v) && IsAtHand(v, stage_[n.id])) group_[Find(n.id)] = Find(g_.producer(v).id);
      }
    }
    std::map<int, Guest> best;  // a group runs in one library: where it saves most
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      if (!Runs(n) || IsLoop(g_, n)) continue;
      for (int i = 0; i < g_.num_results(n); ++i) FindGuests(g_.result(n, i), &best);
    }
    for (const auto& [group, guest] : best) {
      guest_stage_[guest.v.id] = guest.stage;
      guest_[guest.v.id] = group;
      absorbed_[guest.v.id] = guest.alone;
    }
  }
  struct Guest {
    Value v;
    int stage = 0;
    int64_t saved = 0;
    bool alone = false;
  };
  // Whether a group reads what the library of `v` folds over rows, such as statistics: it is known
  // when all of `v` has left the registers. What is folded along rows has a number for each.
  bool WaitsForAll(int group, Value v) {
    const NodeId n = g_.producer(v);
    const Shape& all = g_.shape(v);
    if (all.rank() == 0) return false;
    const int64_t rows = all.numel() / all[all.rank() - 1].value();
    for (int i = 0; i < g_.num_results(n); ++i) {
      const Value w = g_.result(n, i);
      if (g_.shape(w).numel() >= rows) continue;
      for (NodeId u : users_[w.id]) {
        if (Find(u.id) == group) return true;
      }
    }
    return false;
  }
  void FindGuests(Value v, std::map<int, Guest>* best) {
    const std::vector<NodeId>& users = users_[v.id];
    if (users.size() > kMostUsers || Bytes(g_, v) == 0) return;
    bool alone = !leaves_[v.id];
    for (NodeId u : users) alone = alone && Find(u.id) == Find(users[0].id);
    for (NodeId u : users) {
      if (!IsLoop(g_, u) || !IsMap(g_, u)) continue;
      if (g_.shape(g_.result(u)).numel() != g_.shape(v).numel()) continue;
      if (!alone && stage_[u.id] != stage_[g_.producer(v).id] + 1) continue;
      if (WaitsForAll(Find(u.id), v)) continue;
      const int64_t saved = (alone ? 2 : 1) * Bytes(g_, v);
      Guest& guest = (*best)[Find(u.id)];
      if (saved > guest.saved) guest = {v, stage_[u.id], saved, alone};
    }
  }

  // --- What is read and written ---
  // Loops whose results are needed as they are; what loops of other stages read may be made there.
  void FindWanted(NodeId n) {
    if (!Runs(n) || !IsLoop(g_, n)) return;
    for (int i = 0; i < g_.num_results(n); ++i) {
      const Value v = g_.result(n, i);
      wanted_[n.id] = wanted_[n.id] || leaves_[v.id];
      for (NodeId u : users_[v.id]) {
        if (!IsLoop(g_, u)) continue;
        const bool here = IsAtHand(v, stage_[u.id]);
        if (!here && !MayRunAgain(v)) leaves_[v.id] = true;
        wanted_[n.id] = wanted_[n.id] || (here ? wanted_[u.id] : leaves_[v.id]);
      }
    }
  }

  void Count(NodeId n) {
    if (!Runs(n)) return;
    if (!IsLoop(g_, n)) {
      for (int i = 0; i < g_.num_operands(n); ++i) bytes_ += ReadBytes(g_, n, i);
      for (int i = 0; i < g_.num_results(n); ++i) {
        const Value v = g_.result(n, i);
        const bool read = leaves_[v.id] || !users_[v.id].empty();
        if (read && !absorbed_[v.id]) bytes_ += WrittenBytes(g_, n, i);
      }
      return;
    }
    for (int i = 0; i < g_.num_results(n); ++i) {
      if (leaves_[g_.result(n, i).id]) bytes_ += Bytes(g_, g_.result(n, i));
    }
    if (!wanted_[n.id]) return;
    for (const Value x : g_.operands(n)) {
      const Value v = Root(x);
      if (IsAtHand(v, stage_[n.id]) || guest_[v.id] == Find(n.id)) continue;
      if (MayRunAgain(v)) {
        Explore(v, 0, &again_[stage_[n.id]]);
      } else if (reads_.emplace(v.id, stage_[n.id]).second) {
        bytes_ += Bytes(g_, v);
      }
    }
  }

  using Network = std::map<int32_t, int>;  // values that may be read or made again, and how deep
  void Explore(Value v, int depth, Network* network) const {
    if (IsNumber(v)) return;
    if (network->size() > kMostExplored) return;
    const auto [it, fresh] = network->try_emplace(v.id, depth);
    if (!fresh && it->second <= depth) return;
    it->second = depth;
    if (depth == kDeepest || !MayRunAgain(v)) return;
    for (const Value x : g_.operands(g_.producer(v))) Explore(Root(x), depth + 1, network);
  }

  // The cheapest set of values to read so that what is wanted depends on no others that are read:
  //   begin -> leaf --(its cost)--> | -> what is made of it --(its cost)--> | -> end
  int64_t CheapestReads(int stage, const Network& network, const std::map<int32_t, int>& stages) {
    if (network.size() > kMostExplored) return 0;
    MinCut cut;
    std::map<int32_t, int> index;  // where a value is made; it is there at the next node
    for (const auto& [id, depth] : network) {
      const Value v{id};
      const bool free =
          reads_.contains({id, stage}) || (IsAtHand(v, stage) && wanted_[g_.producer(v).id]);
      int64_t cost = free ? 0 : Bytes(g_, v);
      // To be read it must be written, once for all stages that might; libraries write it anyway.
      const bool written = leaves_[id] || !(MayRunAgain(v) || absorbed_[id]);
      if (!free && !written) cost += Bytes(g_, v) / stages.at(id);
      index[id] = cut.AddNode();
      cut.AddEdge(index[id], cut.AddNode(), static_cast<double>(cost));
    }
    for (const auto& [id, depth] : network) {
      const Value v{id};
      if (depth == kDeepest || !MayRunAgain(v)) {
        cut.AddEdge(MinCut::kBegin, index[id], MinCut::kNever);
        continue;
      }
      for (const Value x : g_.operands(g_.producer(v))) {
        if (!IsNumber(Root(x))) cut.AddEdge(index[Root(x).id] + 1, index[id], MinCut::kNever);
      }
      if (depth == 0) cut.AddEdge(index[id] + 1, MinCut::kEnd, MinCut::kNever);
    }
    return static_cast<int64_t>(cut.Run());
  }

  std::vector<bool> kept_;  // by node
  Graph g_;
  std::vector<int> stage_;                  // by node
  std::vector<int32_t> root_;               // value -> the value whose bytes it shows
  std::vector<std::vector<NodeId>> users_;  // by value, views looked through
  std::vector<bool> leaves_;                // values that libraries or the caller read, by value
  std::vector<int> guest_, guest_stage_;    // the group that runs in the library, by its result
  std::vector<bool> absorbed_;              // results that nobody but the guest reads, by value
  std::vector<bool> wanted_;                // by node
  std::vector<int> group_;                  // by node: loops of a stage that exchange values
  std::set<std::pair<int32_t, int>> reads_;
  std::map<int, Network> again_;  // by stage
  int last_stage_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace

int64_t FusedBound(const Graph& graph, std::vector<bool> kept) {
  return Bound(graph, std::move(kept)).Run();
}

}  // namespace ostria
