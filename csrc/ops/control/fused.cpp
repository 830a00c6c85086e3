// SPDX-License-Identifier: Apache-2.0
// A group of loops that a backend runs as one; made by the fusion pass, never exported.
#include "ops/common/control.h"
#include "ops/ops.h"

namespace ostria {
namespace {

enum Attribute { kBody };
constexpr InputDef kInputs[] = {{"inputs", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {{"body", AttrType::kBody}};
constexpr OutputDef kOutputs[] = {{"outputs", Arity::kVariadic}};

void Infer(InferContext& c) { ops::InferBody(c, c.attr<Body>(kBody)); }

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
