// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kBeta1, kBeta2 };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRate>("m");
constexpr auto kAttrs = UpdateAttrs(Number("beta1", "0.9"), Number("beta2", "0.99"));
constexpr auto kOutputs = UpdateOutputs("m_out");

void Infer(InferContext& c) {
  RequireShares(c, {kBeta1, kBeta2});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const double beta1 = std::get<double>(attrs[kBeta1]), beta2 = std::get<double>(attrs[kBeta2]);
  const Value move = b(kMultiply, {b(kSign, {Mix(b, slots[0], g, beta1)}), lr});
  return {b(kSubtract, {w, move}), Mix(b, slots[0], g, beta2)};
}

}  // namespace

constinit const OpDef ops::kLionUpdate = {
    .name = "lion_update",
    .doc =
        "One step of Lion (Chen et al. 2023) for all variables: w' = w - lr sign(beta1 m +\n"
        "(1 - beta1) g), m' = beta2 m + (1 - beta2) g.\n"
        "beta1: share of the momentum in the direction.\n"
        "beta2: share of the momentum that is kept." OSTRIA_UPDATE_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kLionUpdate, Rule>,
};

}  // namespace ostria
