// SPDX-License-Identifier: Apache-2.0
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kWeightDecayAttr, kDecayAttr, kOuterAttr };
constexpr InputDef kInputs[] = {
    {"w", Arity::kVariadic}, {"g", Arity::kVariadic}, kRate, kGradScale, kCommit};
constexpr AttrDef kAttrs[] = {kWeightDecay, kDecayMask, kOuterRows};
constexpr OutputDef kOutputs[] = {{"w_out", Arity::kVariadic}};

void Infer(InferContext& c) { InferUpdate(c, 2, false, kWeightDecayAttr); }

std::vector<Value> Rule(Builder& b, std::span<const Attr>, Value w, Value g, std::span<const Value>,
                        Value lr, Value) {
  return {b(kSubtract, {w, b(kMultiply, {g, lr})})};
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  return DecomposeUpdate(b, in, attrs, 2, false, kWeightDecayAttr, Rule);
}

}  // namespace

constinit const OpDef ops::kSgdUpdate = {
    .name = "sgd_update",
    .doc =
        "One step of gradient descent for all variables: w - lr grad_scale g.\n"
        "weight_decay: w is multiplied by 1 - lr weight_decay first.\n"
        "decay: 0 or 1 per variable, whether it decays; all do when empty.\n"
        "outer: rows of gradients that are given as a column and a row, 0 for others.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true, .mirror_state = 0, .mirror_gradient = 1},
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = Decompose,
};

}  // namespace ostria
