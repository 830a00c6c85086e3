// SPDX-License-Identifier: Apache-2.0
// bucket_reductions: one all_reduce of many gradients becomes several, each of which can begin when
// the backward pass has finished its part. It runs on the traced graph, before sizes are known, and
// looks at weights alone: ranks with other batches get the same calls in the same order.
//
//   g3 = …; g2 = …; g1 = …                  =>  g3 = …; g2 = …
//   r1, r2, r3 = all_reduce(g1, g2, g3)         r2, r3 = all_reduce(g2, g3)
//                                               g1 = …
//                                               r1 = all_reduce(g1)
//
// Backward passes finish weights in about the reverse order of their creation, so buckets are cut
// from the last tensor on. The first is small, so that it can begin early. Other reductions, such
// as that of the loss, move up to where their operands are made, together with what computes these
// from numbers: that of the number of rows, of which the whole step is a reader, begins with the
// step. So does every reduce_scatter, with what lays its operand out, where it is work in a stream.
// A CPU waits in it, so there they stay behind the backward pass, and ranks wait for one another
// once.
#include <optional>
#include <vector>

#include "ops/common/collective.h"
#include "ops/ops.h"
#include "passes/pass.h"
#include "passes/reductions.h"

namespace ostria {
namespace {

constexpr int64_t kFirstBytes = int64_t{1} << 20, kBytes = int64_t{25} << 20;

// How many tensors go into each bucket, from the last one on; nothing where a size is a symbol.
std::optional<std::vector<int>> Cut(const Graph& g, NodeId n) {
  std::vector<int> counts;
  int64_t bytes = 0, limit = kFirstBytes;
  for (int i = g.num_operands(n); i-- > 0;) {
    const ValueType& type = g.type(g.operand(n, i));
    if (!type.shape.is_static()) return std::nullopt;
    const int64_t more = type.shape.numel() * SizeOf(type.dtype);
    if (counts.empty() || (bytes > 0 && bytes + more > limit)) {
      if (!counts.empty()) limit = kBytes;
      counts.push_back(0);
      bytes = 0;
    }
    ++counts.back();
    bytes += more;
  }
  return counts;
}

class Bucketer {
 public:
  explicit Bucketer(Graph& g) : g_(g), position_(PositionsOf(g)) {}

  bool Split(NodeId n) {
    const std::optional<std::vector<int>> counts = Cut(g_, n);
    if (!counts || counts->size() < 2) return false;
    NodeId after;  // nothing of the next bucket comes before it
    int end = g_.num_operands(n);
    for (const int count : *counts) {
      std::vector<Value> operands;
      std::vector<ValueType> types;
      for (int i = end - count; i < end; ++i) {
        operands.push_back(g_.operand(n, i));
        types.push_back(g_.type(operands.back()));
        const NodeId writer = g_.producer(operands.back());
        if (writer.valid() && (!after.valid() || PositionOf(writer) > PositionOf(after))) {
          after = writer;
        }
      }
      const NodeId before = after.valid() ? g_.next(after) : g_.first();
      const std::vector<Attr> attrs(g_.attrs(n).begin(), g_.attrs(n).end());
      const int at = after.valid() ? PositionOf(after) : -1;
      after = g_.AddTypedNode(ops::kAllReduce, operands, attrs, types, g_.location(n), before);
      position_.resize(static_cast<size_t>(g_.node_capacity()));
      position_[after.id] = at;  // behind all that has this position
      for (int i = 0; i < count; ++i) {
        g_.ReplaceAllUses(g_.result(n, end - count + i), g_.result(after, i));
      }
      end -= count;
    }
    g_.Erase(n);
    return true;
  }

 private:
  int PositionOf(NodeId n) const { return position_[n.id]; }

  Graph& g_;
  std::vector<int> position_;
};

bool LaysOut(const Graph& g, NodeId n) {
  return g.is(n, ops::kReshape) || g.is(n, ops::kConcat) || g.is(n, ops::kSlice);
}

bool IsNumber(const Graph& g, NodeId n) {
  if (!g.is(n, ops::kDimProduct) && !g.op(n).traits.elementwise) return false;
  const Shape& shape = g.type(g.result(n, 0)).shape;
  return shape.is_static() && shape.numel() == 1;
}

// Moves reductions up, with the nodes in front of them that `follows` is true of; each once.
class Mover {
 public:
  Mover(Graph& g, bool (*follows)(const Graph&, NodeId))
      : g_(g), follows_(follows), seen_(static_cast<size_t>(g.node_capacity())) {}

  bool Move(NodeId n) {
    if (seen_[n.id]) return false;
    seen_[n.id] = true;
    bool moved = false;
    for (int i = 0; i < g_.num_operands(n); ++i) {
      const NodeId p = g_.producer(g_.operand(n, i));
      if (p.valid() && follows_(g_, p)) moved |= Move(p);
    }
    return MoveReductionUp(g_, n) || moved;
  }

 private:
  Graph& g_;
  bool (*const follows_)(const Graph&, NodeId);
  std::vector<bool> seen_;
};

}  // namespace

bool BucketReductions(Graph& graph, const PassContext& context) {
  std::vector<NodeId> reductions, scatters;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (graph.is(n, ops::kAllReduce)) reductions.push_back(n);
    if (context.device == DeviceKind::kCpu) continue;
    if (graph.is(n, ops::kReduceScatter)) scatters.push_back(n);
  }
  bool changed = false;
  Mover with_numbers(graph, IsNumber), with_layout(graph, LaysOut);
  for (const NodeId n : reductions) changed |= with_numbers.Move(n);
  for (const NodeId n : scatters) changed |= with_layout.Move(n);
  if (reductions.empty()) return changed;
  Bucketer bucketer(graph);
  for (const NodeId n : reductions) changed |= bucketer.Split(n);
  return changed;
}

}  // namespace ostria
