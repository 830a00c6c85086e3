// SPDX-License-Identifier: Apache-2.0
// fold_channel_scale: a factor per channel behind a convolution, as normalisation has it at
// inference, is a factor of its kernel, and what is added a bias. Only where all of them derive
// from state that this graph does not write: then a plan computes them when a Variable was written,
// not in every run.
#include <vector>

#include "ir/builder.h"
#include "ops/common/build.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

class Folder {
 public:
  Folder(Graph& g, bool takes_half) : g_(g), origins_(g), takes_half_(takes_half) {
    for (NodeId n = g.first(); n.valid(); n = g.next(n)) origins_.Add(n);
  }

  // conv(x, k) -> multiply(., f [o]) -> add(., b [o])
  //   =>  conv(x, multiply(k, reshape(f, [o, 1, …]))) -> add(., b)
  // Additions before a factor are multiplied too; batch_norm_inference is taken apart first.
  bool Fold(NodeId conv) {
    const Value y = g_.result(conv), kernel = g_.operand(conv, 1);
    if ((SizeOf(g_.dtype(y)) < 4 && !takes_half_) || !Lasts(kernel)) return false;
    std::vector<NodeId> chain;
    bool scaled = false;
    for (Value v = y; ExtendChain(v, &chain);) {
      v = g_.result(chain.back());
      scaled |= g_.is(chain.back(), ops::kMultiply);
    }
    if (!scaled) return false;
    const NodeId last = chain.back();
    Builder b(g_, Derive(g_.location(last), "fold_channel_scale"), last);
    Value factor, bias, v = y;
    for (NodeId n : chain) {
      const Value c = g_.operand(n, g_.operand(n, 0) == v ? 1 : 0);
      v = g_.result(n);
      if (g_.is(n, ops::kMultiply)) {
        factor = factor.valid() ? b(ops::kMultiply, {factor, c}) : c;
        if (bias.valid()) bias = b(ops::kMultiply, {bias, c});
      } else if (bias.valid()) {
        bias = b(g_.op(n), {bias, c});
      } else {
        bias = g_.is(n, ops::kAdd) ? c : b(ops::kNegative, {c});
      }
    }
    Shape per_filter = g_.shape(kernel);
    for (int axis = 1; axis < per_filter.rank(); ++axis) per_filter[axis] = 1;
    const Value scale = b(ops::kReshape, {factor}, {per_filter});
    const Value k = Scaled(b, kernel, scale);
    const auto own = g_.attrs(conv);
    Value made = g_.result(g_.AddNode(g_.op(conv), std::vector{g_.operand(conv, 0), k},
                                      {own.begin(), own.end()}, g_.location(conv), last));
    if (bias.valid()) made = b(ops::kAdd, {made, bias});
    g_.ReplaceAllUses(g_.result(last), made);
    for (; !chain.empty(); chain.pop_back()) g_.Erase(chain.back());
    g_.Erase(conv);
    return true;
  }

 private:
  // kernel * scale; of 16 bits in float32, from what the kernel was cast of, and rounded once.
  Value Scaled(Builder& b, Value kernel, Value scale) const {
    const DType dtype = g_.dtype(kernel);
    if (SizeOf(dtype) >= 4) return b(ops::kMultiply, {kernel, scale});
    const NodeId cast = ProducedBy(g_, kernel, ops::kCast);
    const Value given = cast.valid() ? g_.operand(cast, 0) : kernel;
    const Value wide = ops::Cast(b, given, DType::kFloat32);
    return ops::Cast(b, b(ops::kMultiply, {wide, ops::Cast(b, scale, DType::kFloat32)}), dtype);
  }

  bool Lasts(Value v) const { return origins_[v] != Origin::kRun; }

  // Adds the only reader of `v` when it combines it with one lasting number per channel.
  bool ExtendChain(Value v, std::vector<NodeId>* chain) {
    if (g_.num_uses(v) != 1 || g_.is_output(v)) return false;
    NodeId n = g_.uses(v)[0].user;
    if (g_.is(n, ops::kBatchNormInference)) {
      if (!(g_.operand(n, 0) == v) || !TakeApart(n)) return false;
      n = g_.uses(v)[0].user;
    }
    const bool either = g_.is(n, ops::kMultiply) || g_.is(n, ops::kAdd);
    if (!either && !g_.is(n, ops::kSubtract)) return false;
    const int at = g_.operand(n, 0) == v ? 0 : 1;
    if (at == 1 && !either) return false;
    const Value c = g_.operand(n, 1 - at);
    const Shape& shape = g_.shape(v);
    if (g_.type(g_.result(n)) != g_.type(v) || !Lasts(c) || g_.shape(c).rank() != 1 ||
        !(g_.shape(c)[0] == shape[shape.rank() - 1])) {
      return false;
    }
    chain->push_back(n);
    return true;
  }

  bool TakeApart(NodeId norm) {
    for (int i = 1; i < g_.num_operands(norm); ++i) {
      if (!Lasts(g_.operand(norm, i))) return false;
    }
    NodeId at = g_.previous(norm);
    Builder b(g_, Derive(g_.location(norm), "part of batch_norm_inference"), norm);
    const std::vector<Value> in = g_.operands(norm);
    g_.ReplaceAllUses(g_.result(norm), g_.op(norm).decompose(b, in, g_.attrs(norm))[0]);
    while (!((at = g_.next(at)) == norm)) origins_.Add(at);
    g_.Erase(norm);
    return true;
  }

  Graph& g_;
  Origins origins_;
  bool takes_half_;
};

}  // namespace

bool FoldChannelScale(Graph& graph, const PassContext& context) {
  std::vector<NodeId> convolutions;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (IsConvolution(graph.op(n))) convolutions.push_back(n);
  }
  if (convolutions.empty()) return false;
  // On a CPU, 16 bits are computed in float32, where a loop scales by the way.
  Folder folder(graph, context.device == DeviceKind::kCuda);
  bool changed = false;
  for (NodeId n : convolutions) changed |= folder.Fold(n);
  return changed;
}

}  // namespace ostria
