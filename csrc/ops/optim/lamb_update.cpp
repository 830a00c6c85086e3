// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kBeta1, kBeta2, kEpsilon };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRateAndStep>("m", "v");
constexpr auto kAttrs =
    NormUpdateAttrs(Number("beta1", "0.9"), Number("beta2", "0.999"), Number("epsilon", "1e-07"));
constexpr auto kOutputs = UpdateOutputs("m_out", "v_out");

void Infer(InferContext& c) {
  RequireShares(c, {kBeta1, kBeta2});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value step) {
  const double beta1 = std::get<double>(attrs[kBeta1]), beta2 = std::get<double>(attrs[kBeta2]);
  const Value m = Blend(b, slots[0], g, beta1), v = Blend(b, slots[1], b(kSquare, {g}), beta2);
  const DType dtype = b.dtype(w);
  const Value m_hat = b(kDivide, {m, BiasCorrection(b, beta1, step)});
  const Value v_hat = b(kDivide, {v, BiasCorrection(b, beta2, step)});
  const Value move =
      b(kDivide, {m_hat, Plus(b, b(kSqrt, {v_hat}), std::get<double>(attrs[kEpsilon]))});
  const auto norm = [&](Value x) { return b(kSqrt, {b(kSum, {b(kSquare, {x})})}); };
  const Value of_w = norm(w), of_move = norm(move), zero = Scalar(b, dtype, 0);
  const Value both = b(kLogicalAnd, {b(kGreater, {of_w, zero}), b(kGreater, {of_move, zero})});
  const Value one = Scalar(b, dtype, 1);
  const Value ratio = b(kWhere, {both, b(kDivide, {of_w, of_move}), one});
  return {b(kSubtract, {w, b(kMultiply, {move, b(kMultiply, {ratio, lr})})}), m, v};
}

}  // namespace

constinit const OpDef ops::kLambUpdate = {
    .name = "lamb_update",
    .doc =
        "One step of LAMB (You et al. 2019) for all variables: Adam's move, made as long as the "
        "variable\n"
        "(where neither is zero) and multiplied by lr; `step` is 1 in the first one.\n"
        "beta1: decay of the first moment.\n"
        "beta2: decay of the second moment.\n"
        "epsilon: added to the root of the second moment." OSTRIA_SEGMENT_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kLambUpdate, Rule>,
};

}  // namespace ostria
