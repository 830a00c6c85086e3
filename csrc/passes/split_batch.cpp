// SPDX-License-Identifier: Apache-2.0
// split_batch: where every value of a batch of images is larger than the caches, each node waits
// for memory to give back what the node before it wrote. Where nothing but the last value is read
// later, as in inference, the nodes run for a few images at a time. Sizes alone decide. A kernel is
// read once per part, so the split ends where kernels outweigh images.
#include <algorithm>
#include <unordered_map>

#include "ir/bytes.h"
#include "ops/common/conv.h"
#include "ops/common/pool.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

// The largest value of a part. Values of half that size stay in cache from one node to the next.
constexpr int64_t kPartBytes = 8 << 20;

// What moves between memory and caches when a node reads or writes `v`.
int64_t Traffic(const Graph& g, Value v) { return Bytes(g, v) > kPartBytes / 2 ? Bytes(g, v) : 0; }

// What runs row by row: the images that derive from one input, and nodes that read nothing else but
// values that do not.
class Region {
 public:
  Region(const Graph& g, Value source) : g_(g), source_(source), rows_(g.shape(source)[0].value()) {
    Open(source);
    for (NodeId n = g.first(); n.valid(); n = g.next(n)) Add(n);
  }

  bool found() const { return parts_ > 1; }
  int64_t parts() const { return parts_; }
  int64_t rows() const { return rows_; }
  /// In order; the last one's result is what others read.
  std::span<const NodeId> nodes() const { return std::span(nodes_).first(count_); }
  bool Has(Value v) const { return left_.contains(v.id); }

 private:
  void Open(Value v) {
    left_[v.id] = g_.num_uses(v) + (g_.is_output(v) ? 1 : 0);
    derived_.resize(std::max(derived_.size(), static_cast<size_t>(v.id) + 1));
    derived_[v.id] = true;
  }
  bool Derives(Value v) const {
    return static_cast<size_t>(v.id) < derived_.size() && derived_[v.id];
  }

  // Whether operand `i` has a row per image, or is the same for all of them.
  bool IsBatch(NodeId n, int i) const { return Has(g_.operand(n, i)); }
  bool IsShared(NodeId n, int i) const {
    const Value v = g_.operand(n, i);
    const Shape &shape = g_.shape(v), &result = g_.shape(g_.result(n));
    return !Derives(v) && (shape.rank() < result.rank() || shape[0] == Dim(1));
  }

  bool Splits(NodeId n) const {
    const Shape& y = g_.shape(g_.result(n));
    if (y.rank() != g_.shape(source_).rank() || !(y[0] == g_.shape(source_)[0])) return false;
    const int dims = g_.shape(source_).rank() - 2;
    if (g_.is(n, ops::MaxPoolOp(dims))) return IsBatch(n, 0) && !IsUsed(g_, g_.result(n, 1));
    if (g_.is(n, ops::AvgPoolOp(dims))) return IsBatch(n, 0);
    if (g_.is(n, ops::ConvOp(dims)) || g_.is(n, ops::kConvFused)) {
      for (int i = 1; i < g_.num_operands(n); ++i) {
        if (i < 3 ? Derives(g_.operand(n, i)) : !IsBatch(n, i)) return false;
      }
      return IsBatch(n, 0);
    }
    if (!g_.op(n).traits.elementwise) return false;
    for (int i = 0; i < g_.num_operands(n); ++i) {
      if (!IsBatch(n, i) && !IsShared(n, i)) return false;
    }
    return true;
  }

  void Add(NodeId n) {
    bool derives = false;
    for (Value v : g_.operands(n)) derives |= Derives(v);
    if (!derives) return;
    if (!Splits(n)) {  // what it reads stays open, so the split ends before it
      derived_.resize(static_cast<size_t>(g_.value_capacity()));
      for (int i = 0; i < g_.num_results(n); ++i) derived_[g_.result(n, i).id] = true;
      return;
    }
    for (Value v : g_.operands(n)) {
      if (!Has(v)) {
        shared_ += Bytes(g_, v);
      } else {
        moved_ += Traffic(g_, v);
        if (--left_[v.id] == 0) --open_;
      }
    }
    const Value y = g_.result(n);
    Open(y);
    nodes_.push_back(n);
    moved_ += Traffic(g_, y);
    largest_ = std::max(largest_, Bytes(g_, y));
    if (left_[y.id] == 0) return;
    if (open_ == 0) Consider(y);
    ++open_;
  }

  // The split might end with `y`.
  void Consider(Value y) {
    int64_t parts = std::min(rows_, (largest_ + kPartBytes - 1) / kPartBytes);
    if (parts < 2) return;
    for (int64_t more = parts; more <= std::min(rows_, 2 * parts); ++more) {
      if (rows_ % more == 0) {
        parts = more;  // equal parts share packed kernels
        break;
      }
    }
    const int64_t joined = 2 * (Bytes(g_, source_) + Bytes(g_, y));
    const int64_t saved = moved_ - joined - (parts - 1) * shared_;
    if (saved <= best_) return;
    best_ = saved;
    parts_ = parts;
    count_ = nodes_.size();
  }

  const Graph& g_;
  Value source_;
  int64_t rows_;
  std::unordered_map<int32_t, int> left_;  // value of the region -> reads that are still to come
  std::vector<bool> derived_;
  std::vector<NodeId> nodes_;
  int open_ = 1;                                  // values that are still to be read
  int64_t moved_ = 0, shared_ = 0, largest_ = 0;  // bytes, so far
  int64_t best_ = 0, parts_ = 1;
  size_t count_ = 0;
};

// x -> conv -> max_pool -> y
//   =>  x[:2] -> conv -> max_pool, x[2:] -> conv -> max_pool  -> concat
void Split(Graph& g, Value source, const Region& region) {
  const NodeId last = region.nodes().back();
  const LocationId location = g.location(last);
  using Ints = std::vector<int64_t>;
  const auto rank = static_cast<size_t>(g.shape(source).rank());
  std::vector<Value> results;
  for (int64_t part = 0; part < region.parts(); ++part) {
    Ints start(rank, 0), stop;
    for (const Dim& size : g.shape(source).dims()) stop.push_back(size.value());
    start[0] = region.rows() * part / region.parts();
    stop[0] = region.rows() * (part + 1) / region.parts();
    const Value given[] = {source};
    std::unordered_map<int32_t, Value> made;
    made[source.id] =
        g.result(g.AddNode(ops::kSlice, given, {start, stop, Ints{}}, location, last));
    for (NodeId n : region.nodes()) {
      std::vector<Value> operands = g.operands(n);
      for (Value& v : operands) {
        if (region.Has(v)) v = made.at(v.id);
      }
      const std::span<const Attr> attrs = g.attrs(n);
      const NodeId copy =
          g.AddNode(g.op(n), operands, {attrs.begin(), attrs.end()}, g.location(n), last);
      made[g.result(n).id] = g.result(copy);
    }
    results.push_back(made.at(g.result(last).id));
  }
  const NodeId joined = g.AddNode(ops::kConcat, results, {int64_t{0}}, location, last);
  g.ReplaceAllUses(g.result(last), g.result(joined));
}

}  // namespace

bool SplitBatch(Graph& graph, const PassContext& context) {
  bool changed = false;
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const Value source = graph.inputs()[i];
    const Shape& shape = graph.shape(source);
    if (shape.rank() < 3 || shape.rank() > 5) continue;
    const Region region(graph, source);
    if (!region.found()) continue;
    if (context.report != nullptr) {
      context.report->push_back(StrCat("batch ", graph.type(source), ": ", region.nodes().size(),
                                       " nodes run in ", region.parts(),
                                       " parts, so that what they hand on stays in cache"));
    }
    Split(graph, source, region);
    changed = true;
  }
  return changed;
}

}  // namespace ostria
