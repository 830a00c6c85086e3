// SPDX-License-Identifier: Apache-2.0
// The product of the shares of momentum so far depends on the step alone, so it is no state: from
// step 1024 on its factors are beta1 (0.96^1024 is below the resolution of double).
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kBeta1, kBeta2, kEpsilon };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRateAndStep>("m", "v");
constexpr auto kAttrs =
    UpdateAttrs(Number("beta1", "0.9"), Number("beta2", "0.999"), Number("epsilon", "1e-07"));
constexpr auto kOutputs = UpdateOutputs("m_out", "v_out");

constexpr double kDecay = 0.96;
constexpr int64_t kFactors = 1024;

// beta1 (1 - 0.96^t / 2)
Value Share(Builder& b, double beta1, Value t) {
  const Value power = b(kPow, {Scalar(b, b.dtype(t), kDecay), t});
  return Times(b, Plus(b, Times(b, power, -0.5), 1), beta1);
}

Value ProductOfShares(Builder& b, double beta1, Value step) {
  const DType dtype = b.dtype(step);
  const Value t = Plus(b, b(kIota, {}, {Shape{kFactors}, dtype}), 1);
  const Value power = b(kPow, {Scalar(b, dtype, kDecay), t});
  const Value past = b(kLessEqual, {t, step});
  const Value factors = b(kWhere, {past, Plus(b, Times(b, power, -0.5), 1), Scalar(b, dtype, 1)});
  const Value shrink = b(kPow, {Scalar(b, dtype, beta1), step});
  return b(kMultiply, {shrink, b(kProd, {factors})});
}

void Infer(InferContext& c) {
  RequireShares(c, {kBeta1, kBeta2});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value step) {
  const double beta1 = std::get<double>(attrs[kBeta1]), beta2 = std::get<double>(attrs[kBeta2]);
  const Value m = Blend(b, slots[0], g, beta1), v = Blend(b, slots[1], b(kSquare, {g}), beta2);
  const Value now = Share(b, beta1, step), next = Share(b, beta1, Plus(b, step, 1));
  const Value all = ProductOfShares(b, beta1, step);
  const auto one_less = [&](Value x) { return Plus(b, b(kNegative, {x}), 1); };
  const Value ahead = b(kDivide, {next, one_less(b(kMultiply, {all, next}))});
  const Value here = b(kDivide, {one_less(now), one_less(all)});
  const Value m_hat = b(kAdd, {b(kMultiply, {m, ahead}), b(kMultiply, {g, here})});
  const Value v_hat = b(kDivide, {v, BiasCorrection(b, beta2, step)});
  const Value scale = Plus(b, b(kSqrt, {v_hat}), std::get<double>(attrs[kEpsilon]));
  return {b(kSubtract, {w, b(kDivide, {b(kMultiply, {m_hat, lr}), scale})}), m, v};
}

}  // namespace

constinit const OpDef ops::kNadamUpdate = {
    .name = "nadam_update",
    .doc =
        "One step of Nadam (Dozat 2016) for all variables: Adam with Nesterov's momentum, whose "
        "share\n"
        "in step t is beta1 (1 - 0.96^t / 2); `step` is 1 in the first one.\n"
        "beta1: decay of the first moment.\n"
        "beta2: decay of the second moment.\n"
        "epsilon: added to the root of the second moment." OSTRIA_UPDATE_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kNadamUpdate, Rule>,
};

}  // namespace ostria
