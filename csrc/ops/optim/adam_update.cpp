// SPDX-License-Identifier: Apache-2.0
// Keras's Adam: epsilon is added to sqrt(v), the bias corrections are in the step size. With
// weight_decay it is AdamW (decoupled).
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kBeta1, kBeta2, kEpsilon, kWeightDecayAttr, kDecayAttr, kOuterAttr };
constexpr InputDef kInputs[] = {{"w", Arity::kVariadic},
                                {"g", Arity::kVariadic},
                                {"m", Arity::kVariadic},
                                {"v", Arity::kVariadic},
                                kRate,
                                kStep,
                                kGradScale,
                                kCommit};
constexpr AttrDef kAttrs[] = {{"beta1", AttrType::kFloat, "0.9"},
                              {"beta2", AttrType::kFloat, "0.999"},
                              {"epsilon", AttrType::kFloat, "1e-07"},
                              kWeightDecay,
                              kDecayMask,
                              kOuterRows};
constexpr OutputDef kOutputs[] = {
    {"w_out", Arity::kVariadic}, {"m_out", Arity::kVariadic}, {"v_out", Arity::kVariadic}};

void Infer(InferContext& c) {
  for (int i : {kBeta1, kBeta2}) {
    const double beta = c.attr<double>(i);
    if (!(beta >= 0 && beta < 1)) {
      c.Fail(c.op().attrs[i].name, " is ", beta, "; it must be in [0, 1)");
    }
  }
  InferUpdate(c, 4, true, kWeightDecayAttr);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value step) {
  const double beta1 = std::get<double>(attrs[kBeta1]), beta2 = std::get<double>(attrs[kBeta2]);
  const DType dtype = b.dtype(w);
  const auto correction = [&](double beta) {
    return Plus(b, b(kNegative, {b(kPow, {Scalar(b, dtype, beta), step})}), 1);
  };
  const auto blend = [&](Value slot, Value now, double beta) {
    return b(kAdd, {slot, Times(b, b(kSubtract, {now, slot}), 1 - beta)});
  };
  const Value m = blend(slots[0], g, beta1), v = blend(slots[1], b(kSquare, {g}), beta2);
  const Value up = b(kMultiply, {lr, b(kSqrt, {correction(beta2)})});
  const Value alpha = b(kDivide, {up, correction(beta1)});
  const Value scale = Plus(b, b(kSqrt, {v}), std::get<double>(attrs[kEpsilon]));
  const Value move = b(kDivide, {b(kMultiply, {m, alpha}), scale});
  return {b(kSubtract, {w, move}), m, v};
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  return DecomposeUpdate(b, in, attrs, 4, true, kWeightDecayAttr, Rule);
}

}  // namespace

constinit const OpDef ops::kAdamUpdate = {
    .name = "adam_update",
    .doc =
        "One step of Adam (Kingma and Ba 2014) for all variables; `step` is 1 in the first one.\n"
        "beta1: decay of the first moment.\n"
        "beta2: decay of the second moment.\n"
        "epsilon: added to the root of the second moment.\n"
        "weight_decay: w is multiplied by 1 - lr weight_decay first (AdamW).\n"
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
