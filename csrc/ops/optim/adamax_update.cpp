// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kBeta1, kBeta2, kEpsilon };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRateAndStep>("m", "u");
constexpr auto kAttrs =
    UpdateAttrs(Number("beta1", "0.9"), Number("beta2", "0.999"), Number("epsilon", "1e-07"));
constexpr auto kOutputs = UpdateOutputs("m_out", "u_out");

void Infer(InferContext& c) {
  RequireShares(c, {kBeta1, kBeta2});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value step) {
  const double beta1 = std::get<double>(attrs[kBeta1]), beta2 = std::get<double>(attrs[kBeta2]);
  const Value m = Blend(b, slots[0], g, beta1);
  const Value u = b(kMaximum, {Times(b, slots[1], beta2), b(kAbs, {g})});
  const Value alpha = b(kDivide, {lr, BiasCorrection(b, beta1, step)});
  const Value scale = Plus(b, u, std::get<double>(attrs[kEpsilon]));
  return {b(kSubtract, {w, b(kDivide, {b(kMultiply, {m, alpha}), scale})}), m, u};
}

}  // namespace

constinit const OpDef ops::kAdamaxUpdate = {
    .name = "adamax_update",
    .doc =
        "One step of Adamax (Kingma and Ba 2014, section 7) for all variables: Adam whose second\n"
        "moment is a decaying maximum, u' = max(beta2 u, |g|); `step` is 1 in the first one.\n"
        "beta1: decay of the first moment.\n"
        "beta2: decay of the maximum.\n"
        "epsilon: added to the maximum." OSTRIA_UPDATE_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kAdamaxUpdate, Rule>,
};

}  // namespace ostria
