// SPDX-License-Identifier: Apache-2.0
// Without a gradient n and z stay (unless l2_shrinkage pulls), but w is computed from them anew: it
// changes where it did not come from them, or the rate changed. So by rows only where lazy.
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kLearningRatePower, kL1, kL2, kL2Shrinkage, kBeta, kLazy };
constexpr auto kInputs = RowUpdateInputs<UpdateTakes::kRate>("n", "z");
constexpr auto kAttrs =
    UpdateAttrs(Number("learning_rate_power", "-0.5"), Number("l1", "0"), Number("l2", "0"),
                Number("l2_shrinkage", "0"), Number("beta", "0"), kLazyRows);
constexpr auto kOutputs = UpdateOutputs("n_out", "z_out");

void Infer(InferContext& c) {
  if (const double power = c.attr<double>(kLearningRatePower); !(power <= 0)) {
    c.Fail("learning_rate_power is ", power, "; it must not be positive");
  }
  RequireNotNegative(c, {kL1, kL2, kL2Shrinkage, kBeta});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const DType dtype = b.dtype(w);
  const double l1 = std::get<double>(attrs[kL1]), l2 = std::get<double>(attrs[kL2]);
  const double shrinkage = std::get<double>(attrs[kL2Shrinkage]),
               beta = std::get<double>(attrs[kBeta]);
  const auto power = [&](Value x) {
    return b(kPow, {x, Scalar(b, dtype, -std::get<double>(attrs[kLearningRatePower]))});
  };
  const Value n = b(kAdd, {slots[0], b(kSquare, {g})});
  const Value after = power(n), zero = Scalar(b, dtype, 0);
  const Value sigma = b(kDivide, {b(kSubtract, {after, power(slots[0])}), lr});
  const Value pull = shrinkage == 0 ? g : b(kAdd, {g, Times(b, w, 2 * shrinkage)});
  const Value z = b(kAdd, {slots[1], b(kSubtract, {pull, b(kMultiply, {sigma, w})})});
  const Value quadratic = Plus(b, b(kDivide, {Plus(b, after, beta), lr}), 2 * l2);
  const Value kept = b(kSubtract, {b(kClip, {z}, {-l1, l1}), z});
  const Value moved = b(kGreater, {quadratic, zero});
  return {b(kWhere, {moved, b(kDivide, {kept, quadratic}), zero}), n, z};
}

}  // namespace

constinit const OpDef ops::kFtrlUpdate = {
    .name = "ftrl_update",
    .doc =
        "One step of FTRL-Proximal (McMahan et al. 2013) for all variables: n' = n + g^2,\n"
        "z' = z + g + 2 l2_shrinkage w - (n'^-p - n^-p) / lr w with p the learning_rate_power,\n"
        "w' = (clip(z', -l1, l1) - z') / ((n'^-p + beta) / lr + 2 l2): exactly 0 where |z'| <= "
        "l1.\n"
        "learning_rate_power: at most 0; -0.5 is the rule of the paper, 0 a fixed rate.\n"
        "l1: strength of the L1 penalty.\n"
        "l2: strength of the L2 penalty.\n"
        "l2_shrinkage: L2 penalty of the loss itself, which the accumulator does not see.\n"
        "beta: added to the root of the accumulator." OSTRIA_LAZY_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kFtrlUpdate, Rule>,
};

}  // namespace ostria
