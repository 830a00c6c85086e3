// SPDX-License-Identifier: Apache-2.0
// merge_scans: the gradient of a scan runs the forward scan once more, with more to stack.
//   s = scan(c, h, xs; f), t = scan(c, h, xs; f + more ys)  =>  t alone
#include "ops/common/control.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using ops::ScanAttr;
using ops::ScanParts;

// Whether two scans give their bodies the same: then what one body computes the other one may.
bool SameLoop(const Graph& g, NodeId a, NodeId b) {
  const ScanParts p = ops::PartsOf(g, a), q = ops::PartsOf(g, b);
  return p.captures == q.captures && p.carries == q.carries && p.length == q.length &&
         p.reverse == q.reverse && g.operands(a) == g.operands(b);
}

// A body with the outputs of `first`, then of `second` but its carries, if those are the same.
Body Merged(const Graph& first, const Graph& second, int carries, const PassContext& context) {
  auto body = std::make_shared<Graph>(first.Clone());
  const std::vector<Value> inputs(body->inputs().begin(), body->inputs().end());
  const std::vector<Value> more = Inline(*body, second, inputs, {}, LocationId{0});
  const auto count = static_cast<int>(body->outputs().size());
  for (size_t i = 0; i < more.size(); ++i) body->AddOutput(StrCat("more_", i), more[i]);
  MergeCommonSubexpressions(*body, context);
  for (int k = carries - 1; k >= 0; --k) {
    if (!(body->outputs()[k] == body->outputs()[count + k])) return nullptr;
    body->RemoveOutput(count + k);
  }
  ops::DropDead(*body);
  return body;
}

// Puts both in place of the first one, where all operands are defined.
bool Merge(Graph& g, NodeId a, NodeId b, const PassContext& context) {
  const ScanParts p = ops::PartsOf(g, a), q = ops::PartsOf(g, b);
  const Body body = Merged(*g.attr<Body>(a, ScanAttr::kBody), *g.attr<Body>(b, ScanAttr::kBody),
                           p.carries, context);
  if (body == nullptr) return false;
  std::vector<Attr> attrs(g.attrs(a).begin(), g.attrs(a).end());
  attrs[ScanAttr::kBody] = body;
  const NodeId m = g.AddNode(ops::kScan, g.operands(a), std::move(attrs), g.location(a), a);
  for (int i = 0; i < p.carries + p.ys; ++i) g.ReplaceAllUses(g.result(a, i), g.result(m, i));
  for (int i = 0; i < p.carries; ++i) g.ReplaceAllUses(g.result(b, i), g.result(m, i));
  for (int i = 0; i < q.ys; ++i) {
    g.ReplaceAllUses(g.result(b, p.carries + i), g.result(m, p.carries + p.ys + i));
  }
  g.Erase(a);
  g.Erase(b);
  return true;
}

}  // namespace

bool MergeScans(Graph& graph, const PassContext& context) {
  std::vector<NodeId> scans;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (graph.is(n, ops::kScan)) scans.push_back(n);
  }
  for (size_t i = 0; i < scans.size(); ++i) {
    for (size_t j = i + 1; j < scans.size(); ++j) {
      if (SameLoop(graph, scans[i], scans[j]) && Merge(graph, scans[i], scans[j], context)) {
        MergeScans(graph, context);
        return true;
      }
    }
  }
  return false;
}

}  // namespace ostria
