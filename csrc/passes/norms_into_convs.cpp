// SPDX-License-Identifier: Apache-2.0
// norms_into_convs: where a device has convolutions that take sums of their result, normalise their
// image while they read it, or go back through relu and normalisation, a block of a residual
// network reads and writes the results of its convolutions only. The image is normalised anew
// wherever it is read, so it must be cheap to name everything that reads it: else it is stored.
//
//   c = conv(x, w);  y, mean, var = batch_norm(c);  z = relu(y);  conv(z, v) -> batch_norm
//     =>  c, sum, square_sum = conv_stats(x, w);  factor, shift of these
//         conv_stats(c, v, factor, shift)
#include <algorithm>
#include <optional>

#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/norms.h"
#include "passes/pass.h"
#include "passes/pins.h"

namespace ostria {
namespace {

using ops::Cast;

// The attributes of a convolution without, or of its gradients with, what follows the groups.
std::vector<Attr> AttrsOf(const Graph& g, NodeId conv) {
  return {g.attrs(conv).begin(), g.attrs(conv).end()};
}

// Who reads z = relu(batch_norm(x)).
struct Readers {
  std::vector<NodeId> convs, filters;       // conv(z, w), conv_grad_filter(z, g)
  NodeId input_grad, relu_grad, norm_grad;  // the way back to x: all or none
};

class NormFuser {
 public:
  NormFuser(Graph& g, const PassContext& context) : g_(g), context_(context) {}

  // Whether its parameters are what statistics are computed in.
  static bool IsFor(const Graph& g, NodeId n) {
    const ValueType& x = g.type(g.operand(n, 0));
    const DType wide = SizeOf(x.dtype) == 2 ? DType::kFloat32 : x.dtype;
    return g.dtype(g.operand(n, 1)) == wide && x.shape.numel() != 0;
  }

  // One batch_norm.
  bool Rewrite(NodeId n) {
    const std::vector<Value> sums = SumsOf(g_.operand(n, 0));
    const Value x = g_.operand(n, 0);
    const std::optional<Readers> readers = ReadersOf(n);
    if (sums.empty() && !readers) return false;
    Builder b(g_, Derive(g_.location(n), "part of batch_norm"), n);
    const std::vector<Value> stats =
        sums.empty() ? b.Multi(ops::kBatchNormStats, {x}) : Finish(b, x, sums);
    const Value scale = g_.operand(n, 1), bias = g_.operand(n, 2);
    const double epsilon = g_.attr<double>(n, ops::NormAttr::kEpsilon);
    const Value rstd = b(ops::kRsqrt, {ops::Plus(b, stats[1], epsilon)});
    const ChannelNumbers numbers{stats[0], b(ops::kMultiply, {scale, rstd}), bias};
    if (readers) {
      // The library's engines read these in the image's dtype.
      const Value shift = b(ops::kSubtract, {bias, b(ops::kMultiply, {stats[0], numbers.factor})});
      const Value factors[] = {Cast(b, numbers.factor, g_.dtype(x)), Cast(b, shift, g_.dtype(x))};
      for (NodeId conv : readers->convs) NormaliseInto(conv, x, factors);
      for (NodeId filter : readers->filters) NormaliseIntoFilter(filter, x, factors);
      if (readers->norm_grad.valid()) GoBack(*readers, {x, scale, bias, stats[0], rstd});
    }
    const Value y = NormalisedBy(b, x, numbers);
    g_.ReplaceAllUses(g_.result(n, 0), y);
    for (int i : {1, 2}) g_.ReplaceAllUses(g_.result(n, i), stats[static_cast<size_t>(i - 1)]);
    g_.Erase(n);
    return true;
  }

 private:
  // --- Sums ---
  // The sums of `c` and of its squares where the convolution that makes it can give them.
  std::vector<Value> SumsOf(Value c) {
    NodeId conv = g_.producer(c);
    if (!conv.valid()) return {};
    if (!g_.is(conv, ops::kConvStats)) {
      if (!IsConvolution(g_.op(conv))) return {};
      const std::vector<Value> operands = g_.operands(conv);
      if (!HasKernel(context_, g_, ops::kConvStats, g_.attrs(conv), operands)) return {};
      conv = ReplaceConv(conv, operands);
    }
    return {g_.result(conv, 1), g_.result(conv, 2)};
  }

  NodeId ReplaceConv(NodeId conv, std::span<const Value> operands) {
    const NodeId made =
        g_.AddNode(ops::kConvStats, operands, AttrsOf(g_, conv), g_.location(conv), conv);
    g_.ReplaceAllUses(g_.result(conv), g_.result(made));
    g_.Erase(conv);
    return made;
  }

  // Mean and variance; rounding may leave a variance of 0 below it.
  std::vector<Value> Finish(Builder& b, Value x, std::span<const Value> sums) const {
    const Shape& shape = g_.shape(x);
    const double share =
        static_cast<double>(shape[shape.rank() - 1].value()) / static_cast<double>(shape.numel());
    const Value mean = ops::Times(b, sums[0], share);
    const Value raw = b(ops::kSubtract, {ops::Times(b, sums[1], share), b(ops::kSquare, {mean})});
    return {mean, b(ops::kMaximum, {raw, ops::Scalar(b, b.dtype(raw), 0.0)})};
  }

  // --- What reads the normalised image ---
  std::optional<Readers> ReadersOf(NodeId n) {
    const Value y = g_.result(n, 0);
    if (g_.num_uses(y) != 1 || g_.is_output(y)) return std::nullopt;
    const NodeId relu = g_.uses(y)[0].user;
    if (!g_.is(relu, ops::kRelu) || g_.is_output(g_.result(relu))) return std::nullopt;
    const Value z = g_.result(relu), x = g_.operand(n, 0);
    const ValueType channels{g_.dtype(x), g_.shape(g_.result(n, 1))};
    Readers out;
    for (const Use& use : g_.uses(z)) {
      const NodeId r = use.user;
      if (IsConvolution(g_.op(r)) && use.operand == 0 && IsNormalised(g_.result(r))) {
        if (!Takes(ops::kConvStats, r, {g_.type(x), g_.type(g_.operand(r, 1)), channels, channels}))
          return std::nullopt;
        out.convs.push_back(r);
      } else if (g_.is(r, ops::kConvGradFilter) && use.operand == 0) {
        if (!Takes(ops::kConvGradFilterNorm, r,
                   {g_.type(x), channels, channels, g_.type(g_.operand(r, 1))}))
          return std::nullopt;
        out.filters.push_back(r);
      } else if (!out.norm_grad.valid() && g_.is(r, ops::kReluGrad) && use.operand == 1) {
        if (!FindWayBack(n, r, &out)) return std::nullopt;
      } else {
        return std::nullopt;
      }
    }
    if (out.convs.empty()) return std::nullopt;
    return out;
  }

  bool IsNormalised(Value v) const {
    const std::vector<Use> uses = g_.uses(v);
    return std::any_of(uses.begin(), uses.end(), [&](const Use& use) {
      return g_.is(use.user, ops::kBatchNorm) && IsFor(g_, use.user);
    });
  }

  bool Takes(const OpDef& op, NodeId like, const std::vector<ValueType>& types) const {
    return !context_.has_kernel || context_.has_kernel(op, g_.attrs(like), types);
  }

  bool OnlyReads(NodeId user, Value v) const {
    return g_.num_uses(v) == 1 && !g_.is_output(v) && g_.uses(v)[0].user == user;
  }

  // batch_norm_grad(relu_grad(conv_grad_input(g, w), z), x, scale, mean, var)
  bool FindWayBack(NodeId n, NodeId relu_grad, Readers* out) const {
    const Value da = g_.operand(relu_grad, 0), dy = g_.result(relu_grad);
    const NodeId back = ProducedBy(g_, da, ops::kConvGradInput);
    if (!back.valid() || !OnlyReads(relu_grad, da) || g_.num_uses(dy) != 1) return false;
    const NodeId norm_grad = g_.uses(dy)[0].user;
    if (!g_.is(norm_grad, ops::kBatchNormGrad) || !OnlyReads(norm_grad, dy)) return false;
    if (PinOf(ops::kBatchNormGrad) != nullptr) return false;
    const Value of[] = {dy, g_.operand(n, 0), g_.operand(n, 1), g_.result(n, 1), g_.result(n, 2)};
    if (!std::ranges::equal(g_.operands(norm_grad), of) ||
        g_.attr<double>(norm_grad, 0) != g_.attr<double>(n, 0)) {
      return false;
    }
    const ValueType parameter = g_.type(of[2]);
    if (!Takes(ops::kConvGradInputNorm, back,
               {g_.type(g_.operand(back, 0)), g_.type(g_.operand(back, 1)), g_.type(of[1]),
                parameter, parameter, parameter, parameter})) {
      return false;
    }
    out->input_grad = back;
    out->relu_grad = relu_grad;
    out->norm_grad = norm_grad;
    return true;
  }

  // --- What they become ---
  void NormaliseInto(NodeId conv, Value x, std::span<const Value, 2> factors) {
    ReplaceConv(conv, std::vector{x, g_.operand(conv, 1), factors[0], factors[1]});
  }

  // conv_grad_filter(z, g)  =>  conv_grad_filter_norm(x, factor, shift, g)
  void NormaliseIntoFilter(NodeId filter, Value x, std::span<const Value, 2> factors) {
    const Value operands[] = {x, factors[0], factors[1], g_.operand(filter, 1)};
    const NodeId made = g_.AddNode(ops::kConvGradFilterNorm, operands, AttrsOf(g_, filter),
                                   g_.location(filter), filter);
    g_.ReplaceAllUses(g_.result(filter), g_.result(made));
    g_.Erase(filter);
  }

  // batch_norm_grad(relu_grad(conv_grad_input(g, w), z), x, ..)
  //   =>  dz, dscale, dbias, a, b, c = conv_grad_input_norm(g, w, x, ..);  dx = a dz + b x + c
  void GoBack(const Readers& readers, std::initializer_list<Value> x_and_numbers) {
    const NodeId end = readers.norm_grad;
    const Value x = *x_and_numbers.begin();
    Builder b(g_, g_.location(readers.input_grad), end);
    std::vector<Value> operands = g_.operands(readers.input_grad);
    operands.insert(operands.end(), x_and_numbers);
    const std::vector<Value> made =
        b.Multi(ops::kConvGradInputNorm, operands, AttrsOf(g_, readers.input_grad));
    const DType wide = g_.dtype(made[3]);
    const Value from_z = b(ops::kMultiply, {Cast(b, made[0], wide), made[3]});
    const Value from_x = b(ops::kMultiply, {Cast(b, x, wide), made[4]});
    const Value dx = b(ops::kAdd, {b(ops::kAdd, {from_z, from_x}), made[5]});
    const Value by[] = {Cast(b, dx, g_.dtype(x)), made[1], made[2]};
    for (int i = 0; i < 3; ++i) g_.ReplaceAllUses(g_.result(end, i), by[i]);
    for (NodeId n : {end, readers.relu_grad, readers.input_grad}) g_.Erase(n);
  }

  Graph& g_;
  const PassContext& context_;
};

}  // namespace

bool NormsIntoConvs(Graph& graph, const PassContext& context) {
  NormFuser fuser(graph, context);
  std::vector<NodeId> norms;
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    if (!graph.is(n, ops::kBatchNorm) || PinOf(ops::kBatchNorm) != nullptr) continue;
    if (NormFuser::IsFor(graph, n)) norms.push_back(n);
  }
  bool changed = false;
  for (NodeId n : norms) changed |= fuser.Rewrite(n);
  return changed;
}

}  // namespace ostria
