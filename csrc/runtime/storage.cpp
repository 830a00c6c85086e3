// SPDX-License-Identifier: Apache-2.0
#include "runtime/storage.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/check.h"
#include "core/aligned.h"
#include "ir/bytes.h"
#include "ops/common/collective.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/match.h"

namespace ostria {
namespace {

// Whether an optimizer's update gave it, or what it is made of.
bool IsUpdated(const Graph& g, Value v) {
  const NodeId n = g.producer(v);
  if (!n.valid()) return false;
  if (g.op(n).traits.mirror_state >= 0) return true;
  if (!g.is(n, ops::kReshape) && !g.is(n, ops::kConcat)) return false;
  const std::vector<Value> operands = g.operands(n);
  return std::all_of(operands.begin(), operands.end(), [&](Value o) { return IsUpdated(g, o); });
}

// By node: gathers of parts that optimizers have updated, behind all that looks at data. They come
// after the decision of the step, so state may be written before them.
std::vector<bool> GathersOfUpdates(const Graph& g) {
  std::vector<bool> gathers(static_cast<size_t>(g.node_capacity()));
  for (NodeId n = g.last(); n.valid() && !ops::ChecksData(g, n); n = g.previous(n)) {
    gathers[n.id] = g.is(n, ops::kAllGather) && IsUpdated(g, g.operand(n, 0));
  }
  return gathers;
}

}  // namespace

StorageMap::StorageMap(const Graph& g, const std::vector<Choice>& choices, const Schedule& schedule,
                       const PlanOptions& options, Plan* plan)
    : g_(g),
      device_(options.device),
      commits_together_(options.commits_together),
      root_(static_cast<size_t>(g.value_capacity()), -1),
      step_of_(static_cast<size_t>(g.node_capacity()), -1),
      workspace_(static_cast<size_t>(g.node_capacity()), -1),
      packed_(static_cast<size_t>(g.node_capacity())) {
  AddValues(choices, plan);
  NumberSteps(schedule);
  FindLifetimes(choices, schedule);
  Keep(choices, schedule, &plan->stats);
  AssignState(choices, plan);
  AssignOutputs(plan);
  ReduceInPlace(choices);
  MirrorGradients(options.layout);
  LayOutReduced();
  ReuseInputs(choices);
  MakeBlocks(choices);
}

void StorageMap::AddValues(const std::vector<Choice>& choices, Plan* plan) {
  const auto add = [&](Value v, Operand operand) {
    root_[v.id] = static_cast<int32_t>(storages_.size());
    Storage s;
    s.operand = operand;
    s.first_value = v;
    s.bytes = Bytes(g_, v);
    storages_.push_back(s);
  };
  for (size_t i = 0; i < g_.inputs().size(); ++i) {
    add(g_.inputs()[i], {Region::kInput, static_cast<int32_t>(i), 0});
  }
  for (size_t i = 0; i < g_.state().size(); ++i) {
    add(g_.state()[i].in, {Region::kState, static_cast<int32_t>(i), 0});
  }
  for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
    if (g_.is(n, ops::kConstant)) {
      const Tensor& t = g_.attr<Tensor>(n, 0);
      const auto offset = static_cast<int64_t>(plan->constants.size());
      plan->constants.resize(static_cast<size_t>(offset + Aligned(t.bytes())));
      std::copy_n(t.data<std::byte>(), t.bytes(), plan->constants.begin() + offset);
      add(g_.result(n), {Region::kConstant, 0, offset});
    } else if (SharesMemory(g_, n)) {
      root_[g_.result(n).id] = Root(g_.operand(n, 0));
    } else {
      for (int i = 0; i < g_.num_results(n); ++i) {
        add(g_.result(n, i), {});
        storages_.back().computed = true;
        if (IsUnread(choices[n.id], g_.result(n, i))) {
          storages_.back().operand.region = Region::kUnread;
          storages_.back().bytes = 0;
        }
      }
    }
  }
  plan->stats.constant_bytes = static_cast<int64_t>(plan->constants.size());
}

bool StorageMap::IsUnread(const Choice& choice, Value v) const {
  if (choice.kernel == nullptr || g_.num_uses(v) > 0 || g_.is_output(v)) return false;
  return (choice.kernel->optional_outputs >> g_.result_index(v) & 1) != 0;
}

void StorageMap::NumberSteps(const Schedule& schedule) {
  const std::vector<bool> committed = GathersOfUpdates(g_);
  for (const auto& [n, pack] : schedule.steps) {
    if (!pack) step_of_[n.id] = num_steps_;
    // Replicas meet before they write: behind all else that they do together, so that they come in
    // one order whatever a plan of few rows has dropped.
    const bool may_stop = ops::ChecksData(g_, n) ||
                          (commits_together_ && !committed[n.id] && ops::IsCollective(g_.op(n)));
    if (!pack && may_stop) last_check_ = num_steps_;
    ++num_steps_;
  }
}

void StorageMap::FindLifetimes(const std::vector<Choice>& choices, const Schedule& schedule) {
  for (int32_t i = 0; i < schedule.num_kept; ++i) {
    const auto& [n, pack] = schedule.steps[static_cast<size_t>(i)];
    if (!pack) continue;
    Storage& s = storages_[Root(g_.operand(n, choices[n.id].state->packed_input))];
    s.last = std::max(s.last, i);
  }
  for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
    const int32_t step = step_of_[n.id];
    if (choices[n.id].kernel == nullptr) continue;
    for (int i = 0; i < g_.num_operands(n); ++i) {
      if (i == choices[n.id].state->packed_input) continue;
      Storage& s = storages_[Root(g_.operand(n, i))];
      s.last = std::max(s.last, step);
    }
    for (int i = 0; i < g_.num_results(n); ++i) {
      Storage& s = storages_[Root(g_.result(n, i))];
      s.first = step;
      s.last = std::max(s.last, step);
    }
  }
  for (Value v : g_.outputs()) storages_[Root(v)].last = EndOf();
}

const StorageMap::Described& StorageMap::Describe(NodeId n) {
  const auto [it, fresh] = described_.try_emplace(n.id);
  Described& d = it->second;
  if (fresh) {
    DescribeNode(g_, n, &d.inputs, &d.outputs);
    for (int i = 0; i < g_.num_operands(n); ++i) d.operands.emplace(Root(g_.operand(n, i)), i);
  }
  return d;
}

// What the steps of every run read of those that only run now and then must outlast a run.
void StorageMap::Keep(const std::vector<Choice>& choices, const Schedule& schedule,
                      PlanStats* stats) {
  const auto place = [&](int64_t bytes) {
    const int64_t at = stats->kept_bytes;
    stats->kept_bytes += Aligned(bytes);
    return at;
  };
  for (const StateEntry& e : g_.state()) {
    Storage& s = storages_[Root(e.out)];
    if (s.computed && s.first < schedule.num_kept) s.last = EndOf();
  }
  for (Storage& s : storages_) {
    if (!s.computed || s.bytes == 0 || s.first >= schedule.num_kept || s.last < schedule.num_kept)
      continue;
    s.operand = {Region::kKept, 0, place(s.bytes)};
  }
  for (const auto& [n, pack] : schedule.steps) {
    if (pack) packed_[n.id] = place(choices[n.id].state->packed_bytes);
  }
  for (const auto& [n, pack] : schedule.steps) {
    if (!pack && schedule.packed_by[n.id].valid())
      packed_[n.id] = packed_[schedule.packed_by[n.id].id];
  }
}

bool StorageMap::AliasOk(const Choice& choice, NodeId n, int out, int in) {
  if (choice.kernel->alias_ok == nullptr) return false;
  const Described& d = Describe(n);
  return choice.kernel->alias_ok({&g_.op(n), g_.attrs(n), d.inputs, d.outputs, &device_}, out, in);
}

// The new value may be written over the old one when every reader of the old one comes before the
// writer, or is the writer and copes with it; and no later step can stop the run, which would leave
// half a step behind.
bool StorageMap::MayOverwriteState(const StateEntry& entry, const std::vector<Choice>& choices) {
  const NodeId writer = g_.producer(entry.out);
  if (!writer.valid() || step_of_[writer.id] < 0) return false;
  const Storage& target = storages_[Root(entry.out)];
  if (!target.computed || Placed(Root(entry.out)) || target.first != step_of_[writer.id] ||
      target.first < last_check_ + (commits_together_ ? 1 : 0)) {
    return false;
  }
  const Storage& old = storages_[Root(entry.in)];
  if (old.last > target.first) return false;
  if (old.last < target.first) return true;
  const auto [begin, end] = Describe(writer).operands.equal_range(Root(entry.in));
  return std::all_of(begin, end, [&](const auto& operand) {
    return Bytes(g_, g_.operand(writer, operand.second)) == target.bytes &&
           AliasOk(choices[writer.id], writer, g_.result_index(entry.out), operand.second);
  });
}

void StorageMap::AssignState(const std::vector<Choice>& choices, Plan* plan) {
  std::vector<Copy> late;
  std::vector<bool> late_target(g_.state().size());
  const auto copy_late = [&](size_t i) {
    const StateEntry& e = g_.state()[i];
    storages_[Root(e.out)].last = EndOf();
    late.push_back({{}, {Region::kState, static_cast<int32_t>(i), 0}, Bytes(g_, e.in)});
    late_target[i] = true;
  };
  for (const StateEntry& e : g_.state()) {  // old values that become new ones are read at the end
    Storage& source = storages_[Root(e.out)];
    if (!(e.in == e.out) && !source.computed) source.last = EndOf();
  }
  for (size_t i = 0; i < g_.state().size(); ++i) {
    const StateEntry& e = g_.state()[i];
    if (e.in == e.out || g_.shape(e.in).numel() == 0) continue;
    if (MayOverwriteState(e, choices)) {
      storages_[Root(e.out)].operand = {Region::kState, static_cast<int32_t>(i), 0};
    } else {
      copy_late(i);
    }
  }
  described_.clear();
  // A source that is itself overwritten at the end goes through a temporary first (a swap).
  size_t k = 0;
  std::vector<Copy> stage;
  for (size_t i = 0; i < g_.state().size(); ++i) {
    if (!late_target[i]) continue;
    Copy& copy = late[k++];
    const int32_t source = Root(g_.state()[i].out);
    const Operand& from = storages_[source].operand;
    if (from.region == Region::kState && late_target[static_cast<size_t>(from.index)]) {
      Storage temporary;
      temporary.bytes = copy.bytes;
      temporary.first = temporary.last = EndOf();
      temporary.computed = true;
      storages_.push_back(temporary);
      const auto t = static_cast<int32_t>(storages_.size() - 1);
      stage.push_back({{Region::kNone, source, 0}, {Region::kNone, t, 0}, copy.bytes});
      copy.from = {Region::kNone, t, 0};
    } else {
      copy.from = {Region::kNone, source, 0};
    }
  }
  // Until blocks are placed, `index` of a kNone operand is the storage.
  plan->copies.insert(plan->copies.end(), stage.begin(), stage.end());
  plan->copies.insert(plan->copies.end(), late.begin(), late.end());
  copies_ = &plan->copies;
}

void StorageMap::AssignOutputs(Plan* plan) {
  std::vector<Copy> copies;
  for (size_t i = 0; i < g_.outputs().size(); ++i) {
    const Value v = g_.outputs()[i];
    const Operand target{Region::kOutput, static_cast<int32_t>(i), 0};
    Storage& s = storages_[Root(v)];
    if (s.bytes == 0) continue;
    if (s.computed && !Placed(Root(v)) && s.bytes == Bytes(g_, v))
      s.operand = target;
    else
      copies.push_back({{Region::kNone, Root(v), 0}, target, Bytes(g_, v)});
  }
  // Before any state is overwritten: a returned old value must be the old one.
  plan->copies.insert(plan->copies.begin(), copies.begin(), copies.end());
}

// Follows what a storage was merged into, for values and for copies.
template <class Find>
void StorageMap::Redirect(Find find) {
  for (int32_t& r : root_)
    if (r >= 0) r = find(r);
  for (Copy& c : *copies_) {
    if (c.from.region == Region::kNone) c.from.index = find(c.from.index);
  }
}

// What is reduced stays where it is, so that gradients are written, reduced and read by the update
// in one place: the block that mirrors their weights.
//   g = matmul x, d     [block + 0]
//   r = all_reduce g    [block + 0]
//   w' = update w, r
void StorageMap::ReduceInPlace(const std::vector<Choice>& choices) {
  std::vector<int32_t> merged;
  const auto find = [&](int32_t s) {
    while (merged[s] != s) s = merged[s];
    return s;
  };
  for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
    const int32_t step = step_of_[n.id];
    if (step < 0 || !ops::ReducesInPlace(g_.op(n))) continue;
    if (merged.empty()) {
      for (size_t i = 0; i < storages_.size(); ++i) merged.push_back(static_cast<int32_t>(i));
    }
    std::unordered_map<int32_t, int> operands;  // what is reduced twice needs a place for each
    for (int i = 0; i < g_.num_operands(n); ++i) ++operands[find(Root(g_.operand(n, i)))];
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const int32_t in = find(Root(g_.operand(n, i))), out = Root(g_.result(n, i));
      Storage& s = storages_[in];
      // A wider storage would put other bytes between tensors than there are on other ranks.
      if (!s.computed || s.bytes == 0 || s.bytes != Bytes(g_, g_.operand(n, i)) || s.last != step ||
          operands[in] > 1 || Placed(in) || Placed(out) || !AliasOk(choices[n.id], n, i, i)) {
        continue;
      }
      s.last = storages_[out].last;
      merged[out] = in;
    }
    described_.clear();
  }
  if (!merged.empty()) Redirect(find);
}

// Gradients of the variables of one chunk lie as the variables do, so that an optimizer sees one
// range and a bucket is a range (decision B2). The group is one block, alive from its first
// gradient on.
void StorageMap::MirrorGradients(const StateLayout& layout) {
  std::unordered_map<int64_t, const StateLayout::Place*> places;
  for (const StateLayout::Place& p : layout.places) places.emplace(p.variable, &p);
  for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
    const Traits& traits = g_.op(n).traits;
    if (traits.mirror_gradient < 0 || step_of_[n.id] < 0) continue;
    const int count = VariadicCount(g_.op(n), g_.num_operands(n));
    const auto start_of = [&](int group) {
      int at = 0;
      for (int i = 0; i < group; ++i) {
        at += g_.op(n).inputs[i].arity == Arity::kVariadic ? count : 1;
      }
      return at;
    };
    const int w = start_of(traits.mirror_state), grad = start_of(traits.mirror_gradient);
    struct Member {
      int64_t offset;
      int32_t storage;
    };
    std::map<int64_t, std::vector<Member>> chunks;
    for (int i = 0; i < count; ++i) {
      const Operand& place = storages_[Root(g_.operand(n, w + i))].operand;
      const int32_t s = Root(g_.operand(n, grad + i));
      if (place.region != Region::kState || !storages_[s].computed || Placed(s) ||
          storages_[s].block >= 0 ||
          g_.type(g_.operand(n, w + i)) != g_.type(g_.operand(n, grad + i))) {
        continue;
      }
      const auto p = places.find(g_.state()[static_cast<size_t>(place.index)].variable);
      if (p != places.end()) chunks[p->second->chunk].push_back({p->second->offset, s});
    }
    for (auto& [chunk, members] : chunks) {
      std::sort(members.begin(), members.end(),
                [](const Member& a, const Member& b) { return a.offset < b.offset; });
      // A hole of variables that this optimizer does not own ends the block.
      for (size_t i = 0; i < members.size();) {
        const auto block = static_cast<int32_t>(blocks_.size());
        Block b{0, EndOf(), -1, 0};
        const int64_t base = members[i].offset;
        int64_t end = base;
        while (i < members.size() && members[i].offset == end &&
               storages_[members[i].storage].block < 0) {
          Storage& s = storages_[members[i].storage];
          s.block = block;
          s.block_offset = members[i].offset - base;
          end = members[i].offset + Aligned(s.bytes);
          b.first = std::min(b.first, s.first);
          b.last = std::max(b.last, s.last);
          ++i;
        }
        if (end == base) {  // the same gradient for two variables: leave the second one alone
          ++i;
          continue;
        }
        b.bytes = end - base;
        blocks_.push_back(b);
      }
    }
  }
}

// What one all_reduce gives and no update wants elsewhere follows each other, so that it is one
// call. That must not depend on what else is alive: ranks with other batches make the same calls.
void StorageMap::LayOutReduced() {
  for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
    if (step_of_[n.id] < 0 || !ops::ReducesInPlace(g_.op(n)) || g_.num_results(n) == 1) continue;
    Block b{0, EndOf(), -1, 0};
    const auto block = static_cast<int32_t>(blocks_.size());
    for (int i = 0; i < g_.num_results(n); ++i) {
      const int32_t root = Root(g_.result(n, i));
      Storage& s = storages_[root];
      if (!s.computed || s.bytes == 0 || Placed(root) || s.block >= 0) continue;
      s.block = block;
      s.block_offset = b.bytes;
      b.bytes += Aligned(s.bytes);
      b.first = std::min(b.first, s.first);
      b.last = std::max(b.last, s.last);
    }
    if (b.bytes > 0) blocks_.push_back(b);
  }
}

bool StorageMap::Follows(Value a, Value b) const {
  const Storage &x = storages_[Root(a)], &y = storages_[Root(b)];
  return x.block >= 0 && x.block == y.block && y.block_offset == x.block_offset + Aligned(x.bytes);
}

// A result takes the place of an operand that dies in the same step, where the kernel copes.
void StorageMap::ReuseInputs(const std::vector<Choice>& choices) {
  std::vector<int32_t> merged(storages_.size());
  for (size_t i = 0; i < merged.size(); ++i) merged[i] = static_cast<int32_t>(i);
  const auto find = [&](int32_t s) {
    while (merged[s] != s) s = merged[s];
    return s;
  };
  for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
    const int32_t step = step_of_[n.id];
    if (step < 0 || choices[n.id].kernel->alias_ok == nullptr) continue;
    std::vector<int> dying;
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const int32_t in = find(Root(g_.operand(n, i)));
      const Storage& s = storages_[in];
      if (s.computed && !Placed(in) && s.block < 0 && s.last == step) dying.push_back(i);
    }
    for (int o = 0; o < g_.num_results(n) && !dying.empty(); ++o) {
      const int32_t out = find(Root(g_.result(n, o)));
      if (Placed(out) || storages_[out].block >= 0 || storages_[out].bytes == 0) continue;
      for (const int i : dying) {
        const int32_t in = find(Root(g_.operand(n, i)));
        Storage& s = storages_[in];
        if (in == out || s.last != step || s.bytes != storages_[out].bytes ||
            s.bytes != Bytes(g_, g_.operand(n, i)) || !AliasOk(choices[n.id], n, o, i)) {
          continue;
        }
        s.last = storages_[out].last;
        merged[out] = in;
        // Taken, even where nobody reads the result and so it dies at once.
        std::erase_if(dying, [&](int k) { return find(Root(g_.operand(n, k))) == in; });
        break;
      }
    }
    described_.clear();
  }
  Redirect(find);
}

void StorageMap::MakeBlocks(const std::vector<Choice>& choices) {
  std::vector<bool> used(storages_.size());
  for (int32_t r : root_)
    if (r >= 0) used[r] = true;
  for (const Copy& c : *copies_) {
    if (c.to.region == Region::kNone) used[c.to.index] = true;
  }
  for (size_t i = 0; i < storages_.size(); ++i) {
    Storage& s = storages_[i];
    if (!used[i] || !s.computed || s.bytes == 0 || s.block >= 0 ||
        Placed(static_cast<int32_t>(i))) {
      continue;
    }
    s.block = static_cast<int32_t>(blocks_.size());
    blocks_.push_back({s.bytes, s.first, s.last, 0});
  }
  for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
    if (choices[n.id].kernel == nullptr || choices[n.id].state->workspace_bytes == 0) continue;
    workspace_[n.id] = static_cast<int32_t>(blocks_.size());
    blocks_.push_back({choices[n.id].state->workspace_bytes, step_of_[n.id], step_of_[n.id], 0});
  }
}

// The blocks, where a workspace is nobody else's as long as a step may run that its own neither
// waits for nor is waited for by, at most `reach` steps away.
//   a = matmul x    ws [0,1]
//   b = matmul y    ws [0,1]     b needs nothing of a: not the same bytes
//   c = a + b
std::vector<Block> StorageMap::WorkspacesApart(int32_t reach) const {
  std::vector<uint64_t> needs(static_cast<size_t>(num_steps_));  // bit k: the step k + 1 before
  std::vector<NodeId> nodes(static_cast<size_t>(num_steps_));
  for (NodeId n = g_.first(); n.valid(); n = g_.next(n)) {
    if (step_of_[n.id] >= 0) nodes[static_cast<size_t>(step_of_[n.id])] = n;
  }
  for (int32_t i = 0; i < num_steps_; ++i) {
    const NodeId n = nodes[static_cast<size_t>(i)];
    for (int k = 0; n.valid() && k < g_.num_operands(n); ++k) {
      NodeId p = g_.producer(g_.operand(n, k));
      while (p.valid() && SharesMemory(g_, p)) p = g_.producer(g_.operand(p, 0));
      const int32_t back = p.valid() && step_of_[p.id] >= 0 ? i - step_of_[p.id] : 0;
      if (back < 1 || back > 64) continue;
      uint64_t& all = needs[static_cast<size_t>(i)];
      all |= uint64_t{1} << (back - 1);
      if (back < 64) all |= needs[static_cast<size_t>(i - back)] << back;
    }
  }
  const auto apart = [&](int32_t earlier, int32_t later) {
    return (needs[static_cast<size_t>(later)] >> (later - earlier - 1) & 1) == 0;
  };
  std::vector<Block> blocks = blocks_;
  for (int32_t i = 0; i < num_steps_; ++i) {
    const NodeId n = nodes[static_cast<size_t>(i)];
    if (!n.valid() || workspace_[n.id] < 0) continue;
    Block& b = blocks[static_cast<size_t>(workspace_[n.id])];
    for (int32_t j = std::max(0, i - reach); j < i; ++j) {
      if (apart(j, i)) b.first = std::min(b.first, j);
    }
    for (int32_t j = std::min(num_steps_ - 1, i + reach); j > i; --j) {
      if (apart(i, j)) b.last = std::max(b.last, j);
    }
  }
  return blocks;
}

void StorageMap::Place(int streams, PlanStats* stats) {
  MemoryPlan placed = PlanMemory(&blocks_);
  constexpr int32_t kReach = 32;
  // What may be added: one part of the region, or as much as no device feels.
  constexpr int64_t kShare = 50, kLittle = 1 << 20;
  const int64_t most = placed.bytes + std::max(placed.bytes / kShare, kLittle);
  for (int32_t reach = streams > 1 ? kReach : 0; reach > 0; reach /= 2) {
    std::vector<Block> apart = WorkspacesApart(reach);
    const int64_t bytes = PlanMemory(&apart).bytes;
    stats->activation_bytes = bytes;
    const bool fits = device_.memory_limit <= 0 || stats->peak_bytes() <= device_.memory_limit;
    if (bytes > most || (!fits && bytes > placed.bytes)) continue;
    blocks_ = std::move(apart);
    placed.bytes = bytes;
    break;
  }
  stats->activation_bytes = placed.bytes;
  stats->liveness_bytes = placed.lower_bound;
  for (Storage& s : storages_) {
    if (s.block >= 0)
      s.operand = {Region::kActivation, 0, blocks_[s.block].offset + s.block_offset};
  }
  for (Copy& c : *copies_) {
    if (c.from.region == Region::kNone) c.from = storages_[c.from.index].operand;
    if (c.to.region == Region::kNone) c.to = storages_[c.to.index].operand;
  }
}

Operand StorageMap::OperandOf(Value v) const { return storages_[Root(v)].operand; }

Operand StorageMap::WorkspaceOf(NodeId n) const {
  if (workspace_[n.id] < 0) return {};
  return {Region::kActivation, 0, blocks_[workspace_[n.id]].offset};
}

}  // namespace ostria
