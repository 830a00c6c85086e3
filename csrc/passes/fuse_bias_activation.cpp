// SPDX-License-Identifier: Apache-2.0
// fuse_bias_activation: a library adds the bias and applies the activation while the product is
// still in registers. Only values that nobody else reads disappear; gradients of relu, tanh and
// sigmoid read the activation's output, so this works in training too. A convolution also takes the
// sum with another image of its result's shape, as a residual block has it; a product of bfloat16 a
// cast to float32. What a product takes on a GPU besides is product_epilogues'.
#include <algorithm>
#include <string>

#include "ops/common/activation.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

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

// A product and what follows it, as one node.
struct Joint {
  std::vector<NodeId> nodes;  // in order
  std::vector<Value> operands;
  ops::Activation activation = ops::Activation::kNone;
  bool widen = false;
};

// The longest joint first, then what is left without its last node, as long as two nodes are.
std::vector<Joint> Joints(const Graph& g, NodeId n, const OpDef& fused) {
  const ValueType type = g.type(g.result(n));
  std::vector<Joint> out;
  Joint j{.nodes = {n}, .operands = g.operands(n)};
  const auto extend = [&](NodeId by) {
    j.nodes.push_back(by);
    out.insert(out.begin(), j);
  };

  if (const NodeId add = OnlyUser(g, g.result(n)); add.valid() && g.is(add, ops::kAdd)) {
    const Value bias = g.operand(add, g.operand(add, 0) == g.result(n) ? 1 : 0);
    const Shape& shape = g.shape(bias);
    if (g.type(g.result(add)) == type && shape.rank() == 1 &&
        shape[0] == type.shape[type.shape.rank() - 1]) {
      j.operands.push_back(bias);
      extend(add);
    }
  }
  if (&fused == &ops::kConvFused && j.nodes.size() == 2) {
    const Value sum = g.result(j.nodes.back());
    if (const NodeId add = OnlyUser(g, sum); add.valid() && g.is(add, ops::kAdd)) {
      const Value addend = g.operand(add, g.operand(add, 0) == sum ? 1 : 0);
      if (g.type(addend) == type) {
        j.operands.push_back(addend);
        extend(add);
      }
    }
  }
  if (const NodeId a = OnlyUser(g, g.result(j.nodes.back())); a.valid()) {
    j.activation = ops::ActivationOf(g.op(a), g.attrs(a));
    if (j.activation != ops::Activation::kNone) extend(a);
  }
  if (&fused == &ops::kMatmulFused) {
    const NodeId cast = Widening(g, g.result(j.nodes.back()));
    j.widen = cast.valid();
    if (j.widen) extend(cast);
  }
  return out;
}

// matmul -> add(., bias [n]) -> relu  =>  matmul_fused(., ., bias) {activation = "relu"}
// matmul -> cast(float32), of bfloat16 and read by an update  =>  matmul_fused(., .) {widen = true}
// conv1d, conv2d and conv3d likewise; both fused ops take the plain op's attributes, then the
// activation.
// conv2d -> add(., bias [n]) -> add(., z) -> relu  =>  conv_fused(., ., bias, z) {"relu"}
// As much of it as the device takes as one: what it does not take stays for fuse_loops.
bool Fuse(Graph& g, const PassContext& context, NodeId n, const OpDef& fused) {
  if (!IsFloat(g.dtype(g.result(n)))) return false;
  for (const Joint& j : Joints(g, n, fused)) {
    const std::span<const Attr> own = g.attrs(n);
    std::vector<Attr> attrs(own.begin(), own.end());
    attrs.push_back(std::string(ops::Name(j.activation)));
    if (&fused == &ops::kMatmulFused) attrs.push_back(j.widen);
    if (!HasKernel(context, g, fused, attrs, j.operands)) continue;
    const NodeId last = j.nodes.back();
    const NodeId made = g.AddNode(fused, j.operands, std::move(attrs), g.location(n), last);
    g.ReplaceAllUses(g.result(last), g.result(made));
    for (size_t i = j.nodes.size(); i-- > 0;) g.Erase(j.nodes[i]);
    return true;
  }
  return false;
}

}  // namespace

bool FuseBiasActivation(Graph& graph, const PassContext& context) {
  bool changed = false;
  for (NodeId n = graph.first(); n.valid();) {
    const NodeId previous = graph.previous(n);
    const bool fused = (graph.is(n, ops::kMatmul) && Fuse(graph, context, n, ops::kMatmulFused)) ||
                       (IsConvolution(graph.op(n)) && Fuse(graph, context, n, ops::kConvFused));
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
