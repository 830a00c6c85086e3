// SPDX-License-Identifier: Apache-2.0
// Keras's Adam: epsilon is added to sqrt(v), the bias corrections are in the step size. With
// weight_decay it is AdamW (decoupled). By rows only where lazy: moments decay without a gradient.
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kBeta1, kBeta2, kEpsilon, kLazy };
constexpr auto kInputs = RowUpdateInputs<UpdateTakes::kRateAndStep>("m", "v");
constexpr auto kAttrs = UpdateAttrs(Number("beta1", "0.9"), Number("beta2", "0.999"),
                                    Number("epsilon", "1e-07"), kLazyRows);
constexpr auto kOutputs = UpdateOutputs("m_out", "v_out");

void Infer(InferContext& c) {
  RequireShares(c, {kBeta1, kBeta2});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value step) {
  const double beta1 = std::get<double>(attrs[kBeta1]), beta2 = std::get<double>(attrs[kBeta2]);
  const Value m = Blend(b, slots[0], g, beta1), v = Blend(b, slots[1], b(kSquare, {g}), beta2);
  const Value up = b(kMultiply, {lr, b(kSqrt, {BiasCorrection(b, beta2, step)})});
  const Value alpha = b(kDivide, {up, BiasCorrection(b, beta1, step)});
  const Value scale = Plus(b, b(kSqrt, {v}), std::get<double>(attrs[kEpsilon]));
  const Value move = b(kDivide, {b(kMultiply, {m, alpha}), scale});
  return {b(kSubtract, {w, move}), m, v};
}

}  // namespace

constinit const OpDef ops::kAdamUpdate = {
    .name = "adam_update",
    .doc =
        "One step of Adam (Kingma and Ba 2014) for all variables; `step` is 1 in the first one.\n"
        "beta1: decay of the first moment.\n"
        "beta2: decay of the second moment.\n"
        "epsilon: added to the root of the second moment." OSTRIA_LAZY_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kAdamUpdate, Rule>,
};

}  // namespace ostria
