// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kEpsilon, kWeightDecayAttr, kDecayAttr, kOuterAttr };
constexpr InputDef kInputs[] = {{"w", Arity::kVariadic},
                                {"g", Arity::kVariadic},
                                {"a", Arity::kVariadic},
                                kRate,
                                kGradScale,
                                kCommit};
constexpr AttrDef kAttrs[] = {
    {"epsilon", AttrType::kFloat, "1e-07"}, kWeightDecay, kDecayMask, kOuterRows};
constexpr OutputDef kOutputs[] = {{"w_out", Arity::kVariadic}, {"a_out", Arity::kVariadic}};

void Infer(InferContext& c) { InferUpdate(c, 3, false, kWeightDecayAttr); }

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const Value a = b(kAdd, {slots[0], b(kSquare, {g})});
  const Value scale = b(kSqrt, {Plus(b, a, std::get<double>(attrs[kEpsilon]))});
  return {b(kSubtract, {w, b(kDivide, {b(kMultiply, {g, lr}), scale})}), a};
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  return DecomposeUpdate(b, in, attrs, 3, false, kWeightDecayAttr, Rule);
}

}  // namespace

constinit const OpDef ops::kAdagradUpdate = {
    .name = "adagrad_update",
    .doc =
        "One step of Adagrad (Duchi et al. 2011) for all variables: a' = a + g^2,\n"
        "w' = w - lr g / sqrt(a' + epsilon), with g scaled by grad_scale.\n"
        "epsilon: added under the root.\n"
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
