// SPDX-License-Identifier: Apache-2.0
// recompute_cheap: a loop that reads what another loop left in memory computes it again, where that
// moves fewer bytes. A value that nobody reads any more is not written either.
//
//   h = add(m, b); matmul(gelu(h), .) … gelu_grad(g, h)
//     =>  matmul(gelu(add(m, b)), .) … gelu_grad(g, add(m, b))
//
// Only of values outside caches, and a few quick functors: a fold, or one tanh, takes longer than
// to write and read its result. Only from values that are there anyway, or that take no more memory
// meanwhile than what is no longer kept: the peak does not grow.
#include <algorithm>
#include <unordered_map>

#include "ir/builder.h"
#include "ir/bytes.h"
#include "kernels/scalar/scalar_cost.h"
#include "loop/build.h"
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/loop_body.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

constexpr int kMostInstructions = 8;   // of what is computed again
constexpr int kMostReaders = 16;       // more are left alone, and a value with more uses
constexpr int kMostUses = 256;         // looked at for one lifetime
constexpr int kMostNodes = 192;        // of a body: programs stay small
constexpr int64_t kInCache = 4 << 20;  // bytes; what is smaller is read from a cache
constexpr int kMostRounds = 4;         // a value may be computed of one that was stored before

class Recomputer {
 public:
  explicit Recomputer(Graph& g) : g_(g), origins_(g) {
    int position = 0;
    for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
      origins_.Add(n);
      SetPosition(n, position++);
    }
    for (const StateEntry& s : g.state()) {
      if (!(s.in == s.out)) written_.push_back(s.in.id);
    }
    std::sort(written_.begin(), written_.end());
  }

  // Late readers first: what they read instead may be computed again in its turn.
  bool Run() {
    bool changed = false;
    for (int round = 0; round < kMostRounds; ++round) {
      bool again = false;
      for (NodeId n = g_.last(); n.valid();) {
        const NodeId previous = g_.previous(n);
        again |= IsLoop(n) && Visit(n);
        n = previous;
      }
      changed |= again;
      if (!again) break;
    }
    return changed;
  }

 private:
  // --- Which values ---
  bool IsLoop(NodeId n) const {
    const bool loop =
        g_.is(n, ops::kFused) || g_.op(n).traits.elementwise || g_.is(n, ops::kBroadcastTo);
    return loop && origins_.Of(n) == Origin::kRun;
  }
  bool Visit(NodeId n) {
    bool changed = false;
    for (int i = 0; i < g_.num_results(n); ++i) {
      const Value v = g_.result(n, i);
      if (g_.num_uses(v) > kMostReaders || Bytes(g_, v) <= kInCache) continue;
      changed |= Replace(v);
    }
    if (changed) DropUnread(n);
    return changed;
  }

  // Nobody reads it from memory any more, or some readers do not, or it stays as it is.
  bool Replace(Value v) {
    std::vector<NodeId> readers;
    bool all = !g_.is_output(v);
    for (const Use& use : g_.uses(v)) {
      if (!IsLoop(use.user)) {
        all = false;
      } else if (std::find(readers.begin(), readers.end(), use.user) == readers.end()) {
        readers.push_back(use.user);
      }
    }
    if (readers.empty() || !MayGain(v, readers, all)) return false;
    const std::optional<LoopBody> again = CheapLoop(v);
    if (!again) return false;
    std::sort(readers.begin(), readers.end(),
              [&](NodeId a, NodeId b) { return position_[a.id] < position_[b.id]; });
    if (all && Saves(v, readers, *again, true)) {
      std::vector<LoopBody> loops;
      for (NodeId r : readers) {
        std::optional<LoopBody> loop = Joined(r, v, *again);
        if (!loop) break;
        loops.push_back(std::move(*loop));
      }
      if (loops.size() == readers.size()) {
        // From the last: a reader may read another one's results.
        for (size_t i = readers.size(); i-- > 0;) Put(readers[i], std::move(loops[i]));
        return true;
      }
    }
    bool changed = false;
    for (NodeId r : readers) {
      if (!Saves(v, {&r, 1}, *again, false)) continue;
      std::optional<LoopBody> loop = Joined(r, v, *again);
      if (!loop) continue;
      Put(r, std::move(*loop));
      changed = true;
    }
    return changed;
  }

  // A look at the operands, before anything is built.
  bool MayGain(Value v, const std::vector<NodeId>& readers, bool all) const {
    if (all) return true;
    const std::vector<Value> made_of = g_.operands(g_.producer(v));
    return std::any_of(readers.begin(), readers.end(), [&](NodeId r) {
      return std::any_of(made_of.begin(), made_of.end(),
                         [&](Value x) { return Bytes(g_, x) < Bytes(g_, v) || Reads(r, x); });
    });
  }

  // --- What it costs ---
  bool Reads(NodeId n, Value v) const {
    for (int i = 0; i < g_.num_operands(n); ++i) {
      if (g_.operand(n, i) == v) return true;
    }
    return false;
  }

  // `unread`: all readers are given, so `v` is neither written nor kept.
  bool Saves(Value v, std::span<const NodeId> readers, const LoopBody& again, bool unread) const {
    int64_t saved = Bytes(g_, v) * static_cast<int64_t>(readers.size()), held = 0;
    if (unread) saved += Bytes(g_, v);
    const bool gone = unread && g_.num_results(g_.producer(v)) == 1;  // its loop does not run
    for (Value x : again.inputs) {
      bool more = false;
      if (gone) saved += Bytes(g_, x);
      for (NodeId r : readers) {
        if (Reads(r, x)) continue;
        more = true;
        saved -= Bytes(g_, x);
      }
      if (!more) continue;
      const Value root = Root(x);
      if (IsWritten(root)) return false;  // its update would have to wait, or to be copied
      const NodeId p = g_.producer(root);
      if (p.valid() && !g_.is(p, ops::kConstant) && LastRead(root) < position_[readers.back().id])
        held += Bytes(g_, root);
    }
    return saved > 0 && held <= (unread ? Bytes(g_, v) : 0);
  }

  Value Root(Value v) const {
    for (NodeId p = g_.producer(v); p.valid() && SharesMemory(g_, p); p = g_.producer(v)) {
      v = g_.operand(p, 0);
    }
    return v;
  }
  bool IsWritten(Value v) const {
    return std::binary_search(written_.begin(), written_.end(), v.id);
  }
  int LastRead(Value v) const {
    if (g_.is_output(v)) return INT32_MAX;
    int last = -1;
    if (g_.num_uses(v) > kMostUses) return last;  // not worth the walk
    for (const Use& use : g_.uses(v)) {
      last = std::max(last, position_[use.user.id]);
      if (SharesMemory(g_, use.user)) last = std::max(last, LastRead(g_.result(use.user)));
    }
    return last;
  }

  // --- Loops ---
  // `v` of values that lie in memory, if that is cheap and covers its whole space.
  std::optional<LoopBody> CheapLoop(Value v) const {
    const NodeId n = g_.producer(v);
    if (!IsShort(v)) return std::nullopt;
    std::vector<bool> keep(static_cast<size_t>(g_.num_results(n)));
    keep[static_cast<size_t>(g_.result_index(v))] = true;
    LoopBody loop = Only(n, keep);
    const std::optional<LoopProgram> program = BuildLoop(loop.graph);
    if (!program || !Covers(*program, v)) return std::nullopt;
    int count = 0;
    for (const LoopInstr& i : program->code) {
      if (i.kind == LoopKind::kLoad || i.kind == LoopKind::kNumber) continue;
      const bool quick = i.kind == LoopKind::kIndex || i.kind == LoopKind::kCast ||
                         (i.kind == LoopKind::kScalar && !kernels::IsCostly(i.op));
      if (!quick || ++count > kMostInstructions) return std::nullopt;
    }
    return loop;
  }
  // Most that is not cheap is long: seen before anything is copied.
  bool IsShort(Value v) const {
    const NodeId n = g_.producer(v);
    if (!g_.is(n, ops::kFused)) return true;
    const Graph& body = *g_.attr<Body>(n, 0);
    std::vector<NodeId> needed;
    const auto need = [&](Value x) {
      const NodeId p = body.producer(x);
      if (p.valid() && body.num_operands(p) > 0 &&
          std::find(needed.begin(), needed.end(), p) == needed.end()) {
        needed.push_back(p);
      }
    };
    need(body.outputs()[static_cast<size_t>(g_.result_index(v))]);
    for (size_t i = 0; i < needed.size() && i <= kMostInstructions; ++i) {
      for (int k = 0; k < body.num_operands(needed[i]); ++k) need(body.operand(needed[i], k));
    }
    return needed.size() <= kMostInstructions;
  }
  bool Covers(const LoopProgram& program, Value v) const { return program.sizes == SizesOf(g_, v); }

  // A node's loop without the results that are not kept and the inputs that only they read.
  LoopBody Only(NodeId n, const std::vector<bool>& keep) const {
    const LoopBody whole = LoopOf(n);
    const Body kept = ops::KeepOutputs(whole.graph, keep);
    LoopBody loop;
    std::vector<bool> read;
    std::vector<Value> arguments;
    for (size_t i = 0; i < whole.inputs.size(); ++i) {
      read.push_back(IsUsed(*kept, kept->inputs()[i]));
      if (read.back()) arguments.push_back(loop.Import(g_, whole.inputs[i]));
    }
    // Inlined once more, so that inputs and outputs are numbered without gaps.
    GiveAll(&loop, Inline(loop.graph, KeepInputs(*kept, read), arguments, {}, g_.location(n)));
    return loop;
  }

  LoopBody LoopOf(NodeId n) const {
    LoopBody loop;
    std::vector<Value> arguments;
    for (Value x : g_.operands(n)) arguments.push_back(loop.Import(g_, x));
    GiveAll(&loop, loop.Copy(g_, n, arguments));
    return loop;
  }

  // The reader `r` that computes `v` itself; nothing when that is no loop.
  std::optional<LoopBody> Joined(NodeId r, Value v, const LoopBody& again) const {
    LoopBody loop;
    std::unordered_map<int32_t, Value> known;
    const auto input = [&](Value x) {
      const auto [it, fresh] = known.try_emplace(x.id);
      if (fresh) it->second = loop.Import(g_, x);
      return it->second;
    };
    for (Value x : g_.operands(r)) {
      if (!(x == v)) input(x);
    }
    std::vector<Value> made_of, arguments;
    for (Value x : again.inputs) made_of.push_back(input(x));
    const Value made = Inline(loop.graph, again.graph, made_of, {}, g_.location(r))[0];
    for (Value x : g_.operands(r)) arguments.push_back(x == v ? made : input(x));
    GiveAll(&loop, loop.Copy(g_, r, arguments));
    MergeCommonSubexpressions(loop.graph, {});
    ops::DropDead(loop.graph);
    if (loop.graph.num_nodes() > kMostNodes) return std::nullopt;
    const std::optional<LoopProgram> program = BuildLoop(loop.graph);
    if (!program || !Covers(*program, v)) return std::nullopt;
    return loop;
  }

  static void GiveAll(LoopBody* loop, const std::vector<Value>& results) {
    for (Value y : results) loop->AddOutput(y);
  }

  // --- Rewriting ---
  void SetPosition(NodeId n, int position) {
    if (static_cast<size_t>(n.id) >= position_.size()) {
      position_.resize(static_cast<size_t>(g_.node_capacity()));
    }
    position_[n.id] = position;
  }

  // In place of `n`, with its results in order.
  void Put(NodeId n, LoopBody loop) {
    const NodeId made =
        g_.AddNode(ops::kFused, loop.inputs, {Body(std::make_shared<Graph>(std::move(loop.graph)))},
                   g_.location(n), n);
    Took(n, made);
    for (int i = 0; i < g_.num_results(n); ++i)
      g_.ReplaceAllUses(g_.result(n, i), g_.result(made, i));
    g_.Erase(n);
  }
  void Took(NodeId old, NodeId made) {
    SetPosition(made, position_[old.id]);
    origins_.Add(made);
  }

  // Takes what nobody reads out of `n`.
  void DropUnread(NodeId n) {
    std::vector<bool> keep;
    for (int i = 0; i < g_.num_results(n); ++i) keep.push_back(IsUsed(g_, g_.result(n, i)));
    const auto kept = std::count(keep.begin(), keep.end(), true);
    if (kept == static_cast<std::ptrdiff_t>(keep.size())) return;
    if (kept > 0) {
      LoopBody loop = Only(n, keep);
      std::vector<Value> results;
      if (IsOneOp(loop.graph)) {
        const NodeId before = g_.previous(n);
        results = Inline(g_, loop.graph, loop.inputs, n, g_.location(n));
        for (NodeId m = before.valid() ? g_.next(before) : g_.first(); !(m == n); m = g_.next(m)) {
          Took(n, m);
        }
      } else {
        const NodeId made =
            g_.AddNode(ops::kFused, loop.inputs,
                       {Body(std::make_shared<Graph>(std::move(loop.graph)))}, g_.location(n), n);
        Took(n, made);
        for (int i = 0; i < g_.num_results(made); ++i) results.push_back(g_.result(made, i));
      }
      size_t next = 0;
      for (size_t i = 0; i < keep.size(); ++i) {
        if (keep[i]) g_.ReplaceAllUses(g_.result(n, static_cast<int>(i)), results[next++]);
      }
    }
    g_.Erase(n);
  }
  // With a kernel of its own, that is: other ops would run as several.
  static bool IsOneOp(const Graph& body) {
    int count = 0;
    bool own = true;
    for (NodeId n = body.first(); n.valid(); n = body.next(n)) {
      if (body.is(n, ops::kFull)) continue;
      ++count;
      own &= !body.op(n).traits.elementwise || body.op(n).scalar || body.is(n, ops::kCast);
    }
    return count == 1 && own;
  }

  Graph& g_;
  Origins origins_;
  std::vector<int> position_;     // by node
  std::vector<int32_t> written_;  // ids of the state that this graph writes
};

}  // namespace

bool RecomputeCheap(Graph& graph, const PassContext&) { return Recomputer(graph).Run(); }

}  // namespace ostria
