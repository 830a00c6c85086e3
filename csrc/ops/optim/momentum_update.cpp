// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kMomentum, kNesterov, kWeightDecayAttr, kDecayAttr, kOuterAttr };
constexpr InputDef kInputs[] = {{"w", Arity::kVariadic},
                                {"g", Arity::kVariadic},
                                {"m", Arity::kVariadic},
                                kRate,
                                kGradScale,
                                kCommit};
constexpr AttrDef kAttrs[] = {{"momentum", AttrType::kFloat},
                              {"nesterov", AttrType::kBool, "false"},
                              kWeightDecay,
                              kDecayMask,
                              kOuterRows};
constexpr OutputDef kOutputs[] = {{"w_out", Arity::kVariadic}, {"m_out", Arity::kVariadic}};

void Infer(InferContext& c) {
  const double momentum = c.attr<double>(kMomentum);
  if (!(momentum >= 0 && momentum <= 1)) {
    c.Fail("momentum is ", momentum, "; it must be between 0 and 1");
  }
  InferUpdate(c, 3, false, kWeightDecayAttr);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const double momentum = std::get<double>(attrs[kMomentum]);
  const Value step = b(kMultiply, {g, lr});
  const Value m = b(kSubtract, {Times(b, slots[0], momentum), step});
  const Value move =
      std::get<bool>(attrs[kNesterov]) ? b(kSubtract, {Times(b, m, momentum), step}) : m;
  return {b(kAdd, {w, move}), m};
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  return DecomposeUpdate(b, in, attrs, 3, false, kWeightDecayAttr, Rule);
}

}  // namespace

constinit const OpDef ops::kMomentumUpdate = {
    .name = "momentum_update",
    .doc =
        "One step of gradient descent with momentum for all variables (Keras's SGD):\n"
        "m' = momentum m - lr grad_scale g, w' = w + m'.\n"
        "momentum: share of the velocity that is kept.\n"
        "nesterov: w' = w + momentum m' - lr grad_scale g instead.\n"
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
