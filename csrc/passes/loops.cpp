// SPDX-License-Identifier: Apache-2.0
#include "passes/loops.h"

#include "ops/common/control.h"
#include "ops/ops.h"

namespace ostria {

std::optional<Loop> LoopOf(const Graph& g, NodeId n) {
  Loop loop;
  if (g.is(n, ops::kScan)) {
    const ops::ScanParts p = ops::PartsOf(g, n);
    loop.captures = p.captures;
    loop.carries = p.carries;
    loop.xs = p.xs;
    loop.ys = p.ys;
    loop.body_attrs = {ops::ScanAttr::kBody};
    loop.captures_attr = ops::ScanAttr::kCaptures;
    loop.carries_attr = ops::ScanAttr::kCarries;
    loop.repeats = p.length > 1;
  } else if (g.is(n, ops::kWhileLoop)) {
    loop.captures = static_cast<int>(g.attr<int64_t>(n, ops::WhileAttr::kCaptures));
    loop.carries = g.num_results(n);
    loop.body_attrs = {ops::WhileAttr::kCondition, ops::WhileAttr::kBody};
    loop.captures_attr = ops::WhileAttr::kCaptures;
    const int64_t most = g.attr<int64_t>(n, ops::WhileAttr::kMaxSteps);
    loop.repeats = most < 0 || most > 1;
  } else {
    return std::nullopt;
  }
  return loop;
}

NodeId AddLoopLike(Graph& g, NodeId n, const Loop& loop, const std::vector<Value>& operands,
                   const std::vector<Body>& bodies) {
  std::vector<Attr> attrs(g.attrs(n).begin(), g.attrs(n).end());
  for (size_t k = 0; k < bodies.size(); ++k) attrs[loop.body_attrs[k]] = bodies[k];
  attrs[loop.captures_attr] = int64_t{loop.captures};
  if (loop.carries_attr >= 0) attrs[loop.carries_attr] = int64_t{loop.carries};
  return g.AddNode(g.op(n), operands, std::move(attrs), g.location(n), n);
}

}  // namespace ostria
