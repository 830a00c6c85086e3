// SPDX-License-Identifier: Apache-2.0
// fuse_bias_activation: a library adds the bias and applies the activation while the product is
// still in registers. Only values that nobody else reads disappear; gradients of relu, tanh and
// sigmoid read the activation's output, so this works in training too. A convolution also takes the
// sum with another image of its result's shape, as a residual block has it; a product of bfloat16 a
// cast to float32.
#include <algorithm>
#include <string>

#include "ops/common/activation.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

// The only node that reads `v`, or nothing.
NodeId OnlyUser(const Graph& g, Value v) {
  return g.num_uses(v) == 1 && !g.is_output(v) ? g.uses(v)[0].user : NodeId{};
}

// Whether all that read `v` are kernels of their own: a loop would widen what it reads by the way.
bool ReadByNoLoop(const Graph& g, Value v) {
  if (g.is_output(v)) return false;
  const std::vector<Use> uses = g.uses(v);
  return std::none_of(uses.begin(), uses.end(), [&](const Use& use) {
    const Traits& traits = g.op(use.user).traits;
    return traits.elementwise || traits.loop;
  });
}

// The cast to float32 that alone reads `v`, of bfloat16. float16 is rounded first: what becomes
// infinite then tells a loss scale that it is too large.
NodeId Widening(const Graph& g, Value v) {
  const NodeId cast = OnlyUser(g, v);
  const bool widens = g.dtype(v) == DType::kBFloat16 && cast.valid() && g.is(cast, ops::kCast) &&
                      g.dtype(g.result(cast)) == DType::kFloat32;
  return widens && ReadByNoLoop(g, g.result(cast)) ? cast : NodeId{};
}

// matmul -> add(., bias [n]) -> relu  =>  matmul_fused(., ., bias) {activation = "relu"}
// matmul -> cast(float32), of bfloat16 and read by an update  =>  matmul_fused(., .) {widen = true}
// conv1d, conv2d and conv3d likewise; both fused ops take the plain op's attributes, then the
// activation.
// conv2d -> add(., bias [n]) -> add(., z) -> relu  =>  conv_fused(., ., bias, z) {"relu"}
bool Fuse(Graph& g, NodeId n, const OpDef& fused) {
  const ValueType type = g.type(g.result(n));
  if (!IsFloat(type.dtype)) return false;
  std::vector<NodeId> chain = {n};
  std::vector<Value> operands = g.operands(n);

  if (const NodeId add = OnlyUser(g, g.result(n)); add.valid() && g.is(add, ops::kAdd)) {
    const Value bias = g.operand(add, g.operand(add, 0) == g.result(n) ? 1 : 0);
    const Shape& shape = g.shape(bias);
    if (g.type(g.result(add)) == type && shape.rank() == 1 &&
        shape[0] == type.shape[type.shape.rank() - 1]) {
      operands.push_back(bias);
      chain.push_back(add);
    }
  }
  if (&fused == &ops::kConvFused && chain.size() == 2) {
    const Value sum = g.result(chain.back());
    if (const NodeId add = OnlyUser(g, sum); add.valid() && g.is(add, ops::kAdd)) {
      const Value addend = g.operand(add, g.operand(add, 0) == sum ? 1 : 0);
      if (g.type(addend) == type) {
        operands.push_back(addend);
        chain.push_back(add);
      }
    }
  }
  auto activation = ops::Activation::kNone;
  if (const NodeId a = OnlyUser(g, g.result(chain.back())); a.valid()) {
    activation = ops::ActivationOf(g.op(a), g.attrs(a));
    if (activation != ops::Activation::kNone) chain.push_back(a);
  }
  NodeId cast;
  if (&fused == &ops::kMatmulFused) cast = Widening(g, g.result(chain.back()));
  if (cast.valid()) chain.push_back(cast);
  if (chain.size() == 1) return false;

  const std::span<const Attr> own = g.attrs(n);
  std::vector<Attr> attrs(own.begin(), own.end());
  attrs.push_back(std::string(ops::Name(activation)));
  if (&fused == &ops::kMatmulFused) attrs.push_back(cast.valid());
  const NodeId last = chain.back();
  const NodeId made = g.AddNode(fused, operands, std::move(attrs), g.location(n), last);
  g.ReplaceAllUses(g.result(last), g.result(made));
  for (; !chain.empty(); chain.pop_back()) g.Erase(chain.back());
  return true;
}

bool IsConvolution(const OpDef& op) {
  return &op == &ops::kConv1d || &op == &ops::kConv2d || &op == &ops::kConv3d;
}

}  // namespace

bool FuseBiasActivation(Graph& graph, const PassContext&) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId previous = graph.previous(n);
    const bool fused = (graph.is(n, ops::kMatmul) && Fuse(graph, n, ops::kMatmulFused)) ||
                       (IsConvolution(graph.op(n)) && Fuse(graph, n, ops::kConvFused));
    changed |= fused;
    // What was fused is gone, and so may be the node after it.
    if (fused)
      n = previous.valid() ? graph.next(previous) : graph.first();
    else
      n = graph.next(n);
  }
  return changed;
}

}  // namespace ostria
