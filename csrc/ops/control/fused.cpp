// SPDX-License-Identifier: Apache-2.0
// A group of loops that a backend runs as one; made by the fusion pass, never exported.
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

enum Attribute { kBody };
constexpr InputDef kInputs[] = {{"inputs", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {{"body", AttrType::kBody}};
constexpr OutputDef kOutputs[] = {{"outputs", Arity::kVariadic}};

void Infer(InferContext& c) {
  const Body& body = c.attr<Body>(kBody);
  if (body == nullptr) c.Fail("there is no body");
  if (static_cast<int>(body->inputs().size()) != c.size()) {
    c.Fail("the body has ", body->inputs().size(), " input(s), but ", c.size(), " were given");
  }
  for (int i = 0; i < c.size(); ++i) {
    const ValueType& type = body->type(body->inputs()[i]);
    if (type != c.input(i)) c.Fail("input ", i, " must be ", type, ", but is ", c.input(i));
  }
  if (body->outputs().empty()) c.Fail("the body has no outputs");
  for (const Value v : body->outputs()) c.Out(body->type(v));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> inputs,
                             std::span<const Attr> attrs) {
  return Inline(b.graph(), *std::get<Body>(attrs[kBody]), inputs, b.before(), b.location());
}

}  // namespace

constinit const OpDef ops::kFused = {
    .name = "fused",
    .doc =
        "Several ops that run as one loop nest over one iteration space.\n"
        "body: the ops, as a closed sub-graph.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its body"),
    .decompose = Decompose,
};

}  // namespace ostria
