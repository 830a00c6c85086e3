// SPDX-License-Identifier: Apache-2.0
// A call of a closed sub-graph. Functions with a gradient of their own are calls with a `vjp` body;
// the passes inline every call once differentiation is over.
#include "ir/grad_context.h"
#include "ops/common/control.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using ops::CallAttr;
constexpr InputDef kInputs[] = {{"inputs", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {{"body", AttrType::kBody},
                              {"vjp", AttrType::kBody, "none"},
                              {"recompute", AttrType::kBool, "false"},
                              {"apart", AttrType::kBool, "false"}};
constexpr OutputDef kOutputs[] = {{"outputs", Arity::kVariadic}};

void CheckVjp(const InferContext& c, const Graph& body, const Graph& vjp) {
  const size_t expected = body.inputs().size() + body.outputs().size();
  if (vjp.inputs().size() != expected || vjp.outputs().size() != body.inputs().size()) {
    c.Fail("the gradient of a function of ", body.inputs().size(), " input(s) and ",
           body.outputs().size(), " output(s) takes ", expected,
           " values (the inputs, then a cotangent per output) and returns ", body.inputs().size(),
           " (a cotangent per input), but this one takes ", vjp.inputs().size(), " and returns ",
           vjp.outputs().size());
  }
  for (size_t i = 0; i < expected; ++i) {
    const bool input = i < body.inputs().size();
    const ValueType& type =
        body.type(input ? body.inputs()[i] : body.outputs()[i - body.inputs().size()]);
    if (vjp.type(vjp.inputs()[i]) != type) {
      c.Fail("the gradient's argument ", i, " must be ", type, ", but is ",
             vjp.type(vjp.inputs()[i]));
    }
    if (input && vjp.type(vjp.outputs()[i]) != type) {
      c.Fail("the gradient must return ", type, " for input ", i, ", but returns ",
             vjp.type(vjp.outputs()[i]));
    }
  }
}

void Infer(InferContext& c) {
  const Body& body = c.attr<Body>(CallAttr::kBody);
  ops::InferBody(c, body);
  if (const Body& vjp = c.attr<Body>(CallAttr::kVjp); vjp != nullptr) CheckVjp(c, *body, *vjp);
}

void Grad(GradContext& c) {
  Body vjp = c.attr<Body>(CallAttr::kVjp);
  if (vjp == nullptr) {
    const Body body = c.attr<Body>(CallAttr::kBody);
    vjp = c.DifferentiateBody(*body);
  }
  std::vector<Value> arguments;
  for (int i = 0; i < c.size(); ++i) arguments.push_back(c.input(i));
  const int outputs = c.b.graph().num_results(c.node());
  for (int i = 0; i < outputs; ++i) arguments.push_back(c.cotangent(i));
  const bool apart = c.attr<bool>(CallAttr::kRecompute) || c.attr<bool>(CallAttr::kApart);
  const std::vector<Value> g = c.b.Multi(ops::kCall, arguments, {vjp, Body(), false, apart});
  for (int i = 0; i < c.size(); ++i) c.Set(i, g[i]);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> inputs,
                             std::span<const Attr> attrs) {
  return Inline(b.graph(), *std::get<Body>(attrs[CallAttr::kBody]), inputs, b.before(),
                b.location());
}

}  // namespace

constinit const OpDef ops::kCall = {
    .name = "call",
    .doc =
        "The outputs of a closed sub-graph for these inputs.\n"
        "body: the sub-graph.\n"
        "vjp: its gradient: inputs and one cotangent per output to one cotangent per input; "
        "without "
        "it, the body is differentiated.\n"
        "recompute: whether the gradient computes the body's values again instead of keeping "
        "them.\n"
        "apart: whether what the body computes stays its own: it is not merged with equal nodes "
        "around it.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
};

}  // namespace ostria
