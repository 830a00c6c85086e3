// SPDX-License-Identifier: Apache-2.0
// split_norms: on a GPU, batch normalisation is statistics, and loops that join others: the relu,
// the sum with a shortcut and the casts behind it, and what makes its cotangent in front of its
// gradient. widen_norms: on a CPU, whose kernels are for float32, what has 16 bits is cast around
// the node, where loops take the casts.
#include "ir/builder.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/norms.h"
#include "passes/pass.h"
#include "passes/pins.h"

namespace ostria {
namespace {

void Replace(Graph& g, NodeId n, std::span<const Value> by) {
  for (int i = 0; i < g.num_results(n); ++i) g.ReplaceAllUses(g.result(n, i), by[i]);
  g.Erase(n);
}

// y, mean, var = batch_norm(x, scale, bias)
//   =>  mean, var = batch_norm_stats(x);  y = (x - mean) factor + bias
// with factor = scale / sqrt(var + epsilon), a number per channel.
void SplitForward(Graph& g, NodeId n) {
  Builder b(g, Derive(g.location(n), "part of batch_norm"), n);
  const Value x = g.operand(n, 0);
  const std::vector<Value> stats = b.Multi(ops::kBatchNormStats, {x});
  const DType params = g.dtype(g.result(n, 1)), wide = g.dtype(stats[0]);
  const Value scale = ops::Cast(b, g.operand(n, 1), wide);
  const Value bias = ops::Cast(b, g.operand(n, 2), wide);
  const double epsilon = g.attr<double>(n, ops::NormAttr::kEpsilon);
  const Value rstd = b(ops::kRsqrt, {ops::Plus(b, stats[1], epsilon)});
  const Value y = NormalisedBy(b, x, {stats[0], b(ops::kMultiply, {scale, rstd}), bias});
  Replace(g, n, std::vector{y, ops::Cast(b, stats[0], params), ops::Cast(b, stats[1], params)});
}

// dx, dscale, dbias = batch_norm_grad(g, x, scale, mean, var)
//   =>  dbias = sum(g);  p = sum(g (x - mean));  dscale = p rstd
//       dx = scale rstd (g - dbias / n - (x - mean) p rstd^2 / n)
// as (g + (x - mean) slope + shift) factor, with numbers per channel: the cast of g waits for sums.
// Sums and dx cannot be one loop, so each casts and centers what it reads anew.
void SplitBackward(Graph& g, NodeId n) {
  Builder b(g, Derive(g.location(n), "part of batch_norm_grad"), n);
  const Value x = g.operand(n, 1);
  const DType dtype = g.dtype(x), params = g.dtype(g.operand(n, 2));
  const DType wide = SizeOf(dtype) == 2 ? DType::kFloat32 : dtype;
  const auto as_wide = [&](int i) { return ops::Cast(b, g.operand(n, i), wide); };
  const auto [axes, rows] = ops::LeadingAxes(b, x);
  const Value mean = as_wide(3), scale = as_wide(2);
  const auto centered = [&] { return b(ops::kSubtract, {as_wide(1), mean}); };
  const Value cotangent = as_wide(0);
  const Value dbias = b(ops::kSum, {cotangent}, {axes, false});
  const Value p = b(ops::kSum, {b(ops::kMultiply, {cotangent, centered()})}, {axes, false});

  const double epsilon = g.attr<double>(n, ops::NormAttr::kEpsilon);
  const double share = 1.0 / static_cast<double>(rows.numel());
  const Value rstd = b(ops::kRsqrt, {ops::Plus(b, as_wide(4), epsilon)});
  const Value dscale = b(ops::kMultiply, {p, rstd}), factor = b(ops::kMultiply, {scale, rstd});
  const Value slope = ops::Times(b, b(ops::kMultiply, {dscale, rstd}), -share);
  const Value shift = ops::Times(b, dbias, -share);

  const Value from_x = b(ops::kMultiply, {centered(), slope});
  const Value inner = b(ops::kAdd, {b(ops::kAdd, {as_wide(0), from_x}), shift});
  const Value dx = b(ops::kMultiply, {inner, factor});
  Replace(g, n,
          std::vector{ops::Cast(b, dx, dtype), ops::Cast(b, dscale, params),
                      ops::Cast(b, dbias, params)});
}

bool IsEmpty(const Graph& g, NodeId n) { return g.shape(g.result(n)).numel() == 0; }

}  // namespace

Value NormalisedBy(Builder& b, Value x, const ChannelNumbers& c) {
  const Value centered = b(ops::kSubtract, {ops::Cast(b, x, b.dtype(c.mean)), c.mean});
  const Value y = b(ops::kAdd, {b(ops::kMultiply, {centered, c.factor}), c.bias});
  return ops::Cast(b, y, b.dtype(x));
}

bool SplitNorms(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId next, n = graph.first(); n.valid(); n = next) {
    next = graph.next(n);
    const bool forward = graph.is(n, ops::kBatchNorm);
    if ((!forward && !graph.is(n, ops::kBatchNormGrad)) || IsEmpty(graph, n)) continue;
    if (PinOf(graph.op(n)) != nullptr) continue;
    (forward ? SplitForward : SplitBackward)(graph, n);
    changed = true;
  }
  return changed;
}

// y, mean, var = batch_norm(x, scale, bias), of bfloat16  =>  a cast, batch_norm of float32, a cast
bool WidenNorms(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId next, n = graph.first(); n.valid(); n = next) {
    next = graph.next(n);
    if (!graph.is(n, ops::kBatchNorm) && !graph.is(n, ops::kBatchNormGrad)) continue;
    Builder b(graph, graph.location(n), n);
    const std::vector<Value> operands = graph.operands(n);
    if (!ops::HasHalf(b, operands) || IsEmpty(graph, n)) continue;
    Replace(graph, n, ops::ViaFloat32(b, graph.op(n), operands, graph.attrs(n)));
    changed = true;
  }
  return changed;
}

}  // namespace ostria
