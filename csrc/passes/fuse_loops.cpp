// SPDX-License-Identifier: Apache-2.0
// fuse_loops: neighbouring elementwise ops, casts, broadcasts, folds and the normalisations made of
// them become `fused` nodes, so that what they hand to each other never reaches memory.
//
//   matmul -> gelu -> multiply(., mask) -> matmul      add(x, r) -> layer_norm
//             [       fused       ]                    [         fused       ]
//
// Every merge is of a node with a group that makes one of its operands, or reads one of them too,
// over the same iteration space; it saves writing that value, reading it, or both, and costs
// nothing but arithmetic that runs anyway. What must not happen is a cycle: a value that leaves the
// group and comes back. Where work is put into a stream, a launch costs more than a few small
// values, and small loops over one iteration space share one though they exchange nothing.
#include <algorithm>
#include <array>
#include <climits>
#include <map>
#include <utility>

#include "ir/bytes.h"
#include "loop/build.h"
#include "ops/common/random.h"
#include "ops/common/reduce.h"
#include "ops/ops.h"
#include "passes/fused_groups.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/pins.h"

namespace ostria {
namespace {

constexpr int kMostVisited = 512;     // nodes looked at for one question about cycles
constexpr size_t kMostMembers = 192;  // a longer chain is cut: programs stay small
constexpr size_t kMostReaders = 4;    // earlier readers of an operand that a node may join
constexpr int64_t kSmall = 1 << 14;   // elements of a loop that takes less time than its launch
constexpr size_t kMostSmall = 36;     // members of a group that some share for that alone

// What a group knows of itself.
struct Group {
  std::vector<NodeId> members;  // in list order
  std::vector<int64_t> space;
  int columns = -1;  // column axes that its folds want; -1: it has none
  bool folds_rows = false;
  bool only_folds = true;
  int epoch = 0;      // effects keep their order: a group lies between two of them
  bool kept = false;  // computed once for many runs: what runs every time stays out
  bool dead = false;
};

// Where a value of a group lies.
enum class Lies : uint8_t { kNowhere, kFull, kRow, kStored };

// How a node would lie in a group of its own.
struct Footprint {
  bool candidate = false;
  std::vector<int64_t> space;
  int columns = -1;
  bool folds_rows = false, folds_cols = false;
};

class LoopFuser {
 public:
  LoopFuser(Graph& g, const PassContext& context)
      : g_(g),
        context_(context),
        group_of_(static_cast<size_t>(g.node_capacity()), -1),
        lies_(static_cast<size_t>(g.value_capacity()), Lies::kNowhere),
        position_(static_cast<size_t>(g.node_capacity())),
        last_read_(static_cast<size_t>(g.value_capacity()), -1),
        readers_(static_cast<size_t>(g.value_capacity())),
        seen_nodes_(static_cast<size_t>(g.node_capacity())),
        seen_values_(static_cast<size_t>(g.value_capacity())),
        origins_(g) {
    int position = 0;
    for (NodeId n = g.first(); n.valid(); n = g.next(n)) position_[n.id] = position++;
    for (NodeId n = g.last(); n.valid(); n = g.previous(n)) FindLastReads(n);
  }

  bool Run() {
    int epoch = 0;
    for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
      origins_.Add(n);
      if (g_.op(n).traits.ordered) {
        ++epoch;
        continue;
      }
      const Footprint shape = FootprintOf(n);
      if (shape.candidate) {
        Place(n, shape, epoch);
      } else if (!JoinRowView(n) && !IsView(g_, n) && !IsNumber(n)) {
        last_other_ = position_[n.id];
      }
    }
    std::vector<std::vector<NodeId>> members;
    for (Group& group : groups_) {
      if (!group.dead) members.push_back(std::move(group.members));
    }
    return FuseGroups(g_, members);
  }

 private:
  // --- What a node is ---
  // A number that a loop writes as it is: nothing runs for it. (On a CPU such plans are as
  // measured.)
  bool IsNumber(NodeId n) const {
    return context_.device == DeviceKind::kCuda && g_.num_operands(n) == 0 &&
           UniformValue(g_, g_.result(n)).has_value() && g_.shape(g_.result(n)).rank() == 0;
  }

  // The sizes that are not 1.
  std::vector<int64_t> Axes(Value v) const {
    std::vector<int64_t> out = SizesOf(g_, v);
    std::erase(out, 1);
    return out;
  }

  Footprint FootprintOf(NodeId n) {
    Footprint s;
    for (int i = 0; i < g_.num_results(n); ++i) {
      if (g_.shape(g_.result(n, i)).numel() == 0) return s;
    }
    const OpDef& op = g_.op(n);
    if (PinOf(op) != nullptr) return s;
    if (op.traits.elementwise || &op == &ops::kBroadcastTo) {
      if (!op.scalar && op.decompose == nullptr && &op != &ops::kCast && &op != &ops::kBroadcastTo)
        return s;
      s.candidate = true;
      s.space = SizesOf(g_, g_.result(n));
      return s;
    }
    if (IsFold(g_, n)) return FoldShape(n);
    if (op.traits.loop) return CompositeShape(n);
    return s;
  }

  Footprint FoldShape(NodeId n) const {
    Footprint s;
    const Value in = g_.operand(n, 0);
    if (!IsFloat(g_.dtype(in)) || g_.shape(in).numel() == 0) return s;
    s.space = SizesOf(g_, in);
    const int rank = static_cast<int>(s.space.size());
    const std::vector<int> axes = ReducedAxes(g_, n);
    const int count = axes.empty() ? rank : static_cast<int>(axes.size());
    if (count == rank) {  // everything: rows that are folded, and no columns
      s.columns = 0;
      s.folds_rows = true;
    } else if (axes.front() == 0 && axes.back() == count - 1) {
      s.columns = rank - count;
      s.folds_rows = true;
    } else if (axes.back() == rank - 1 && axes.front() == rank - count) {
      s.columns = count;
      s.folds_cols = true;
    } else {
      return s;
    }
    s.candidate = true;
    return s;
  }

  // Softmax, normalisation: the program itself says what it folds.
  Footprint CompositeShape(NodeId n) {
    Footprint s;
    for (int i = 0; i < g_.num_operands(n); ++i) {
      if (g_.shape(g_.operand(n, i)).numel() == 0) return s;
    }
    const auto program = BuildLoop(BodyOf(g_, n).graph);
    if (!program) return s;
    s.space = program->sizes;
    for (const LoopInstr& i : program->code) {
      s.folds_cols |= i.kind == LoopKind::kFoldCols;
      s.folds_rows |= i.kind == LoopKind::kFoldRows;
    }
    s.columns = s.folds_cols || s.folds_rows ? program->column_axes : -1;
    s.candidate = true;
    return s;
  }

  // --- Groups ---
  bool Compatible(const Group& a, const std::vector<int64_t>& space, int columns, int epoch) const {
    return !a.dead && a.epoch == epoch && a.space == space &&
           (columns < 0 || a.columns < 0 || a.columns == columns);
  }

  void Place(NodeId n, const Footprint& shape, int epoch) {
    int home = -1;
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const Value v = g_.operand(n, i);
      const NodeId p = g_.producer(v);
      if (!p.valid() || group_of_[p.id] < 0) continue;
      const int k = group_of_[p.id];
      if (k == home) continue;
      if (home < 0) {
        if (MayJoin(n, shape, epoch, k) && !WidensForLater(n, k)) home = k;
      } else if (Compatible(groups_[home], groups_[k].space, groups_[k].columns, epoch) &&
                 MayJoin(n, shape, epoch, k) && MayMerge(home, k)) {
        Merge(home, k);
      }
    }
    for (int k : ReadersOfTheSame(n, shape)) {
      if (k == home || groups_[k].dead) continue;
      if (home < 0) {
        if (KernelsFit(n, shape, -1, k) && MayJoinReaders(n, shape, epoch, k)) home = k;
      } else if (Compatible(groups_[k], groups_[home].space, groups_[home].columns, epoch) &&
                 KernelsFit(n, shape, home, k) && MayJoinReaders(n, shape, epoch, k) &&
                 NobodyWaits(home, position_[n.id]) && MayMerge(home, k)) {
        Merge(home, k);
      }
    }
    if (home < 0) home = SmallLoops(n, shape, epoch);
    if (home < 0) {
      home = static_cast<int>(groups_.size());
      groups_.push_back({.space = shape.space, .epoch = epoch, .kept = IsKept(n)});
      if (SharesLaunches(shape)) small_[shape.space] = home;
    }
    Add(n, shape, home);
  }

  // --- Groups that share a launch ---
  bool SharesLaunches(const Footprint& shape) const {
    if (context_.device != DeviceKind::kCuda || shape.columns >= 0) return false;
    int64_t numel = 1;
    for (int64_t size : shape.space) numel *= size;
    return numel <= kSmall;
  }
  int SmallLoops(NodeId n, const Footprint& shape, int epoch) {
    const auto last = SharesLaunches(shape) ? small_.find(shape.space) : small_.end();
    if (last == small_.end()) return -1;
    const Group& group = groups_[last->second];
    const bool fits = group.members.size() < kMostSmall && group.columns < 0;
    return fits && MayJoinReaders(n, shape, epoch, last->second) ? last->second : -1;
  }

  // --- Groups that read the same ---
  // Whole operands only: a vector that is broadcast stays in cache.
  bool IsWhole(Value v, const std::vector<int64_t>& space) const {
    return g_.shape(v).numel() > 1 && SizesOf(g_, v) == space;
  }

  std::vector<int> ReadersOfTheSame(NodeId n, const Footprint& shape) {
    std::vector<int> out;
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const Value v = g_.operand(n, i);
      if (!IsWhole(v, shape.space)) continue;
      std::array<NodeId, kMostReaders>& readers = readers_[v.id];
      for (NodeId r : readers) {
        if (!r.valid()) continue;
        const int k = group_of_[r.id];
        if (std::find(out.begin(), out.end(), k) == out.end()) out.push_back(k);
      }
      std::shift_left(readers.begin(), readers.end(), 1);
      readers.back() = n;
    }
    return out;
  }

  // Folds alone have kernels of their own, which win more than one read costs; those over rows are
  // dear in a group that has none.
  bool KernelsFit(NodeId n, const Footprint& shape, int home, int k) const {
    const Group& a = groups_[k];
    Group b{.folds_rows = shape.folds_rows, .only_folds = IsFold(g_, n)};
    if (home >= 0) {
      b.folds_rows |= groups_[home].folds_rows;
      b.only_folds &= groups_[home].only_folds;
    }
    if (a.only_folds && b.only_folds) return false;
    return a.folds_rows == b.folds_rows || !(a.folds_rows ? a.only_folds : b.only_folds);
  }

  bool MayJoinReaders(NodeId n, const Footprint& shape, int epoch, int k) {
    const Group& group = groups_[k];
    return group.members.size() < kMostMembers && group.kept == IsKept(n) && Readable(n, k) &&
           Compatible(group, shape.space, shape.columns, epoch) &&
           NobodyWaits(k, position_[n.id]) && KeepsLittleAlive(n, k) && !Reaches(n, k);
  }

  // Whether no node before `position` reads a result of the group: then the group may run there.
  bool NobodyWaits(int k, int position) const {
    for (NodeId m : groups_[k].members) {
      for (int i = 0; i < g_.num_results(m); ++i) {
        if (!ReadFrom(g_.result(m, i), k, position)) return false;
      }
    }
    return true;
  }
  bool ReadFrom(Value v, int k, int position) const {
    if (g_.num_uses(v) > kMostVisited) return false;
    for (const Use& use : g_.uses(v)) {
      if (group_of_[use.user.id] == k || position_[use.user.id] >= position) continue;
      if (!IsView(g_, use.user) || !ReadFrom(g_.result(use.user), k, position)) return false;
    }
    return true;
  }

  void Add(NodeId n, const Footprint& shape, int k) {
    Group& group = groups_[k];
    group.members.push_back(n);
    if (shape.columns >= 0) group.columns = shape.columns;
    group.folds_rows |= shape.folds_rows;
    group.only_folds &= IsFold(g_, n);
    group_of_[n.id] = k;
    for (int i = 0; i < g_.num_results(n); ++i) {
      const Value v = g_.result(n, i);
      if (SizesOf(g_, v) == group.space && !IsFold(g_, n)) {
        lies_[v.id] = Lies::kFull;
      } else if (g_.op(n).traits.elementwise || (IsFold(g_, n) && shape.folds_cols)) {
        lies_[v.id] = Lies::kRow;
      } else {
        lies_[v.id] = Lies::kStored;  // a fold over rows, or one of several results
      }
    }
  }

  // A cast to a wider type of what group `k` makes, for a reader that waits for the whole group: it
  // belongs to the reader, and the narrow value is stored. (On a CPU such plans are as measured.)
  bool WidensForLater(NodeId n, int k) {
    if (context_.device != DeviceKind::kCuda || !g_.is(n, ops::kCast)) return false;
    const Value y = g_.result(n);
    if (SizeOf(g_.dtype(y)) <= SizeOf(g_.dtype(g_.operand(n, 0))) || g_.num_uses(y) != 1)
      return false;
    std::vector<NodeId> stack;
    PushProducers(g_.uses(y)[0].user, -1, &stack);
    std::erase(stack, n);
    return Search(stack, k);
  }

  bool IsKept(NodeId n) const { return origins_.Of(n) == Origin::kState; }

  // Operands that the group makes must be readable inside it.
  bool Readable(NodeId n, int k) const {
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const Value v = g_.operand(n, i);
      const NodeId p = g_.producer(v);
      if (!p.valid() || group_of_[p.id] != k) continue;
      const bool key = g_.is(n, ops::kDropout) && i == ops::DropoutInput::kKey;  // read whole
      if (key || lies_[v.id] == Lies::kStored) return false;
    }
    return true;
  }

  bool MayJoin(NodeId n, const Footprint& shape, int epoch, int k) {
    const Group& group = groups_[k];
    if (group.members.size() >= kMostMembers || !Readable(n, k)) return false;
    if (group.kept != IsKept(n)) return false;
    if (!Compatible(group, shape.space, shape.columns, epoch)) {
      if (!OnRows(n, shape, k) || group.dead || group.epoch != epoch) return false;
    }
    return KeepsLittleAlive(n, k) && !Reaches(n, k);
  }

  // A member waits for its group. Where others run meanwhile, what it reads must not be more than
  // what it would have left in memory or read again: sums of gradients that arrive one by one stay
  // sums.
  bool KeepsLittleAlive(NodeId n, int k) {
    const Group& group = groups_[k];
    if (last_other_ < position_[group.members.back().id]) return true;
    int64_t saved = 0, held = 0;
    ++stamp_;
    for (NodeId m : group.members) {
      for (int i = 0; i < g_.num_operands(m); ++i) {
        const Value v = g_.operand(m, i);
        if (std::exchange(seen_values_[v.id], stamp_) == stamp_) continue;
        const NodeId p = g_.producer(v);
        if (p.valid() && group_of_[p.id] != k && last_read_[v.id] < position_[n.id])
          held += Bytes(g_, v);
      }
    }
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const Value v = g_.operand(n, i);
      const NodeId p = g_.producer(v);
      if ((p.valid() && group_of_[p.id] == k) || seen_values_[v.id] == stamp_)
        saved += Bytes(g_, v);
    }
    return held <= saved;
  }

  // A value lives as long as its views. Called from the last node to the first.
  void FindLastReads(NodeId n) {
    for (int i = 0; i < g_.num_results(n); ++i) {
      const Value v = g_.result(n, i);
      if (g_.is_output(v)) last_read_[v.id] = INT_MAX;
    }
    const int at =
        IsView(g_, n) ? std::max(position_[n.id], last_read_[g_.result(n).id]) : position_[n.id];
    for (int i = 0; i < g_.num_operands(n); ++i) {
      int& last = last_read_[g_.operand(n, i).id];
      last = std::max(last, at);
    }
  }

  // An elementwise node over values per row: log(sum(x)).
  bool OnRows(NodeId n, const Footprint& shape, int k) const {
    if (shape.columns >= 0 || !g_.op(n).traits.elementwise || groups_[k].columns < 0) return false;
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const Value v = g_.operand(n, i);
      const NodeId p = g_.producer(v);
      if (p.valid() && group_of_[p.id] == k && lies_[v.id] == Lies::kRow &&
          g_.shape(v) == g_.shape(g_.result(n))) {
        return true;
      }
    }
    return false;
  }

  // reshape [8] -> [8, 1] of a value per row.
  bool JoinRowView(NodeId n) {
    if (!IsView(g_, n)) return false;
    const NodeId p = g_.producer(g_.operand(n, 0));
    if (!p.valid() || group_of_[p.id] < 0 || lies_[g_.operand(n, 0).id] != Lies::kRow) return false;
    if (Axes(g_.operand(n, 0)) != Axes(g_.result(n))) return false;  // other axes, no loop
    Group& group = groups_[group_of_[p.id]];
    group.members.push_back(n);
    group_of_[n.id] = group_of_[p.id];
    lies_[g_.result(n).id] = Lies::kRow;
    return true;
  }

  // Whether an operand of `n` that group `k` does not make depends on the group.
  bool Reaches(NodeId n, int k) {
    std::vector<NodeId> stack;
    PushProducers(n, k, &stack);
    return Search(stack, k);
  }

  bool MayMerge(int a, int b) {
    if (groups_[a].members.size() + groups_[b].members.size() > kMostMembers) return false;
    return !Depends(a, b) && !Depends(b, a);
  }
  // Whether group `b` depends on group `a` through a node of neither.
  bool Depends(int a, int b) {
    std::vector<NodeId> stack;
    for (NodeId m : groups_[b].members) {
      std::vector<NodeId> mine;
      PushProducers(m, b, &mine);
      for (NodeId p : mine) {
        if (group_of_[p.id] != a) stack.push_back(p);
      }
      // A value of `a` that cannot be read inside keeps them apart.
      if (!Readable(m, a)) return true;
    }
    return Search(stack, a);
  }

  void PushProducers(NodeId n, int except, std::vector<NodeId>* stack) const {
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const NodeId p = g_.producer(g_.operand(n, i));
      if (p.valid() && (except < 0 || group_of_[p.id] != except)) stack->push_back(p);
    }
  }

  // Groups are walked as one node: what one member reads, all of them wait for.
  bool Search(std::vector<NodeId>& stack, int target) {
    const int earliest = position_[groups_[target].members.front().id];
    ++stamp_;
    int visited = 0;
    const auto expand = [&](NodeId n, int except) {
      seen_nodes_[n.id] = stamp_;
      ++visited;
      if (context_.looked != nullptr) ++*context_.looked;
      if (position_[n.id] > earliest) PushProducers(n, except, &stack);
    };
    while (!stack.empty() && visited <= kMostVisited) {
      const NodeId n = stack.back();
      stack.pop_back();
      if (seen_nodes_[n.id] == stamp_) continue;
      const int k = group_of_[n.id];
      if (k == target) return true;
      if (k < 0) {
        expand(n, -1);
      } else if (position_[groups_[k].members.back().id] < earliest) {
        seen_nodes_[n.id] = stamp_;  // no member comes after the target's first
      } else {
        for (NodeId m : groups_[k].members) expand(m, k);
      }
    }
    return visited > kMostVisited;  // too far to tell
  }

  void Merge(int into, int from) {
    Group &a = groups_[into], &b = groups_[from];
    for (NodeId m : b.members) group_of_[m.id] = into;
    a.members.insert(a.members.end(), b.members.begin(), b.members.end());
    std::sort(a.members.begin(), a.members.end(),
              [&](NodeId x, NodeId y) { return position_[x.id] < position_[y.id]; });
    if (a.columns < 0) a.columns = b.columns;
    a.folds_rows |= b.folds_rows;
    a.only_folds &= b.only_folds;
    b.members.clear();
    b.dead = true;
  }

  Graph& g_;
  const PassContext& context_;
  std::vector<Group> groups_;
  std::vector<int> group_of_;   // by node, -1: none
  std::vector<Lies> lies_;      // by value
  std::vector<int> position_;   // in the list, by node
  std::vector<int> last_read_;  // by value: a position
  // By value: the last loops so far that read it.
  std::vector<std::array<NodeId, kMostReaders>> readers_;
  std::map<std::vector<int64_t>, int> small_;  // by space: the last small group
  int last_other_ = -1;                        // the last node so far that is in no group
  // What a walk has met, by its number.
  int stamp_ = 0;
  std::vector<int> seen_nodes_, seen_values_;
  Origins origins_;
};

}  // namespace

bool FuseLoops(Graph& graph, const PassContext& context) { return LoopFuser(graph, context).Run(); }

}  // namespace ostria
