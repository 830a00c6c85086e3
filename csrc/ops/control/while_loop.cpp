// SPDX-License-Identifier: Apache-2.0
// while_loop: a sub-graph repeated while another one gives true. Operands and inputs of both bodies
// are captures…, carries…; both take the step number (int64[], from 0) last. The condition returns
// bool[], the body new carries. With max_steps it ends after so many steps at the latest, and its
// gradient is that of a scan whose steps do nothing once the condition was false.
#include <utility>

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/collective.h"
#include "ops/common/control.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"inputs", Arity::kVariadic, false}};
constexpr AttrDef kAttrs[] = {{"condition", AttrType::kBody},
                              {"body", AttrType::kBody},
                              {"captures", AttrType::kInt},
                              {"max_steps", AttrType::kInt, "-1"}};
constexpr OutputDef kOutputs[] = {{"outputs", Arity::kVariadic}};

void Infer(InferContext& c) {
  const Body& condition = c.attr<Body>(WhileAttr::kCondition);
  const Body& body = c.attr<Body>(WhileAttr::kBody);
  if (condition == nullptr || body == nullptr) c.Fail("the condition or the body is missing");
  const int64_t captures = c.attr<int64_t>(WhileAttr::kCaptures);
  if (captures < 0 || captures >= c.size()) {
    c.Fail(captures, " capture(s) of ", c.size(), " input(s) leave no value to carry");
  }
  if (c.attr<int64_t>(WhileAttr::kMaxSteps) < -1) {
    c.Fail("max_steps is ", c.attr<int64_t>(WhileAttr::kMaxSteps), "; give 0 or more");
  }
  for (const auto& [graph, name] :
       {std::pair(condition, "the condition"), std::pair(body, "the body")}) {
    RefuseCollectives(c, *graph, name);
    if (static_cast<int>(graph->inputs().size()) != c.size() + 1) {
      c.Fail(name, " takes ", graph->inputs().size(), " value(s); with ", c.size(),
             " input(s) of the loop it takes ", c.size() + 1, ", the last one the step");
    }
    for (int i = 0; i < c.size(); ++i) {
      RequireBodyInput(c, *graph, i, c.input(i), name, i < captures ? "a capture" : "a carry");
    }
    RequireBodyInput(c, *graph, c.size(), kStepType, name, "the step");
  }
  if (condition->outputs().size() != 1 ||
      condition->type(condition->outputs()[0]) != ValueType{DType::kBool, {}}) {
    c.Fail("the condition must return one bool[], but returns ", condition->outputs().size(),
           " value(s)",
           condition->outputs().empty()
               ? std::string()
               : StrCat(", the first ", condition->type(condition->outputs()[0])),
           "; reduce it with all or any");
  }
  const int carries = c.size() - static_cast<int>(captures);
  if (static_cast<int>(body->outputs().size()) != carries) {
    c.Fail("the body returns ", body->outputs().size(), " value(s) for ", carries, " carry(s)");
  }
  for (int k = 0; k < carries; ++k) {
    const int i = static_cast<int>(captures) + k;
    RequireCarry(c, k, body->input_name(i), c.input(i), body->type(body->outputs()[k]));
    c.Out(c.input(i));
  }
}

// A step of the scan: (going, carries) become (going and condition, body or unchanged).
ScanReturns GuardedStep(Builder& b, const ScanArguments& a, const Body& condition,
                        const Body& body) {
  std::vector<Value> arguments = a.captures;
  arguments.insert(arguments.end(), a.carries.begin() + 1, a.carries.end());
  arguments.push_back(a.step);
  const Value holds = Inline(b.graph(), *condition, arguments, {}, b.location())[0];
  const Value going = b(kLogicalAnd, {a.carries[0], holds});
  auto unchanged = std::make_shared<Graph>();
  for (size_t i = 0; i < arguments.size(); ++i) {
    unchanged->AddInput(StrCat("x", i), b.type(arguments[i]), b.location());
  }
  for (size_t k = 1; k < a.carries.size(); ++k) {
    unchanged->AddOutput(StrCat("carry_", k - 1), unchanged->inputs()[a.captures.size() + k - 1]);
  }
  std::vector<Value> operands = {going};
  operands.insert(operands.end(), arguments.begin(), arguments.end());
  ScanReturns out;
  out.carries = b.Multi(kCond, operands, {body, Body(std::move(unchanged))});
  out.carries.insert(out.carries.begin(), going);
  return out;
}

void Grad(GradContext& c) {
  const int64_t max_steps = c.attr<int64_t>(WhileAttr::kMaxSteps);
  if (max_steps < 0) {
    throw Error(ErrorCode::kNotImplemented, "while_loop",
                "has no gradient, since nothing bounds what it would have to keep; give "
                "max_steps=, use scan, or wrap the loop's results in stop_gradient")
        .At(ShortLocation(c.b.graph().location(c.node())));
  }
  const auto captures = static_cast<size_t>(c.attr<int64_t>(WhileAttr::kCaptures));
  const Body condition = c.attr<Body>(WhileAttr::kCondition), body = c.attr<Body>(WhileAttr::kBody);
  std::vector<Value> arguments = c.b.graph().operands(c.node());
  Graph loop;
  Builder b(loop, c.b.location());
  std::vector<Value> inputs;
  for (size_t i = 0; i < arguments.size(); ++i) {
    inputs.push_back(loop.AddInput(StrCat("x", i), c.b.type(arguments[i]), b.location()));
  }
  std::vector<Value> carries = {Full(b, {DType::kBool, {}}, 1.0)};
  carries.insert(carries.end(), inputs.begin() + static_cast<std::ptrdiff_t>(captures),
                 inputs.end());
  const std::vector<Value> last =
      BuildScan(b, std::span(inputs).first(captures), carries, {}, max_steps, false,
                [&](Builder& inner, const ScanArguments& a) {
                  return GuardedStep(inner, a, condition, body);
                });
  for (size_t k = 1; k < last.size(); ++k) loop.AddOutput(StrCat("carry_", k - 1), last[k]);
  std::vector<bool> keep;
  for (int i = 0; i < c.size(); ++i) keep.push_back(c.Needs(i) && IsFloat(c.b.dtype(c.input(i))));
  const Body vjp = KeepOutputs(*c.DifferentiateBody(loop), keep);
  if (vjp->outputs().empty()) return;
  for (size_t k = 0; k + 1 < last.size(); ++k) {
    arguments.push_back(c.cotangent(static_cast<int>(k)));
  }
  const std::vector<Value> g = c.b.Multi(kCall, arguments, {vjp, Body()});
  size_t at = 0;
  for (int i = 0; i < c.size(); ++i) {
    if (keep[static_cast<size_t>(i)]) c.Set(i, g[at++]);
  }
}

// Of one step: how many there are is known only when it runs.
double Flops(std::span<const ValueType>, std::span<const ValueType>, std::span<const Attr> attrs) {
  return BodyFlops(*std::get<Body>(attrs[WhileAttr::kCondition])) +
         BodyFlops(*std::get<Body>(attrs[WhileAttr::kBody]));
}

}  // namespace

constinit const OpDef ops::kWhileLoop = {
    .name = "while_loop",
    .doc =
        "A sub-graph repeated on carried values while a condition on them is true.\n"
        "condition: captures, carries, the step; to one truth value.\n"
        "body: captures, carries, the step; to new carries.\n"
        "captures: how many inputs every step is given unchanged.\n"
        "max_steps: the most steps that are taken; -1: as many as the condition asks for.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = Grad,
    .flops = Flops,
};

}  // namespace ostria
