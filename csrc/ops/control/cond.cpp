// SPDX-License-Identifier: Apache-2.0
// cond: one of two sub-graphs runs. Operands are the predicate (bool[]), then what both bodies
// take: every capture of either. Its gradient is a cond that computes what it needs of the chosen
// branch again, so the other branch never runs.
#include <algorithm>

#include "ir/grad_context.h"
#include "ops/common/collective.h"
#include "ops/common/control.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"pred", Arity::kOne, false}, {"inputs", Arity::kVariadic, false}};
constexpr AttrDef kAttrs[] = {{"true_body", AttrType::kBody}, {"false_body", AttrType::kBody}};
constexpr OutputDef kOutputs[] = {{"outputs", Arity::kVariadic}};

void Infer(InferContext& c) {
  if (c.dtype(0) != DType::kBool || c.shape(0).rank() != 0) {
    c.Fail("pred must be bool[], one truth value, but is ", c.input(0),
           "; reduce it with all or any");
  }
  const Body bodies[] = {c.attr<Body>(CondAttr::kThen), c.attr<Body>(CondAttr::kElse)};
  constexpr std::string_view kNames[] = {"the branch for true", "the branch for false"};
  for (int k = 0; k < 2; ++k) {
    if (bodies[k] == nullptr) c.Fail(kNames[k], " is missing");
    RefuseCollectives(c, *bodies[k], kNames[k]);
    if (static_cast<int>(bodies[k]->inputs().size()) != c.size() - 1) {
      c.Fail(kNames[k], " takes ", bodies[k]->inputs().size(), " value(s), but ", c.size() - 1,
             " are given");
    }
    for (int i = 1; i < c.size(); ++i) {
      RequireBodyInput(c, *bodies[k], i - 1, c.input(i), kNames[k], "an operand");
    }
  }
  const auto yes = bodies[0]->outputs(), no = bodies[1]->outputs();
  if (yes.size() != no.size()) {
    c.Fail(kNames[0], " returns ", yes.size(), " value(s) and ", kNames[1], " returns ", no.size(),
           "; both must return as many");
  }
  if (yes.empty()) c.Fail("the branches return nothing");
  for (size_t i = 0; i < yes.size(); ++i) {
    const ValueType &a = bodies[0]->type(yes[i]), &b = bodies[1]->type(no[i]);
    if (a != b) {
      c.Fail("result ", i, " is ", a, " in ", kNames[0], " and ", b, " in ", kNames[1],
             "; both must be of one shape and dtype; use cast, reshape or broadcast_to in one of "
             "them");
    }
    c.Out(a);
  }
}

void Grad(GradContext& c) {
  const int outputs = c.b.graph().num_results(c.node());
  std::vector<Value> arguments = c.b.graph().operands(c.node());
  std::vector<int> wanted;
  std::vector<bool> keep;
  for (int i = 1; i < c.size(); ++i) {
    keep.push_back(c.Needs(i) && IsFloat(c.b.dtype(c.input(i))));
    if (keep.back()) wanted.push_back(i);
  }
  if (wanted.empty()) return;
  std::vector<Attr> bodies;
  for (const int k : {CondAttr::kThen, CondAttr::kElse}) {
    const Body body = c.attr<Body>(k);
    bodies.emplace_back(KeepOutputs(*c.DifferentiateBody(*body), keep));
  }
  for (int i = 0; i < outputs; ++i) arguments.push_back(c.cotangent(i));
  const std::vector<Value> g = c.b.Multi(kCond, arguments, std::move(bodies));
  for (size_t i = 0; i < wanted.size(); ++i) c.Set(wanted[i], g[i]);
}

// The dearer branch: what the step may take.
double Flops(std::span<const ValueType>, std::span<const ValueType>, std::span<const Attr> attrs) {
  return std::max(BodyFlops(*std::get<Body>(attrs[CondAttr::kThen])),
                  BodyFlops(*std::get<Body>(attrs[CondAttr::kElse])));
}

}  // namespace

constinit const OpDef ops::kCond = {
    .name = "cond",
    .doc =
        "The outputs of one of two closed sub-graphs; the other one does not run.\n"
        "true_body: what runs where pred is true.\n"
        "false_body: what runs where it is false.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = Grad,
    .flops = Flops,
};

}  // namespace ostria
