// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kRho, kMomentum, kEpsilon };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRate>("v", "m");
constexpr auto kAttrs =
    UpdateAttrs(Number("rho", "0.9"), Number("momentum", "0"), Number("epsilon", "1e-07"));
constexpr auto kOutputs = UpdateOutputs("v_out", "m_out");

void Infer(InferContext& c) {
  RequireShares(c, {kRho, kMomentum});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const double rho = std::get<double>(attrs[kRho]);
  const Value v = Mix(b, slots[0], b(kSquare, {g}), rho);
  const Value scale = b(kSqrt, {Plus(b, v, std::get<double>(attrs[kEpsilon]))});
  const Value now = b(kDivide, {b(kMultiply, {g, lr}), scale});
  const Value move = b(kAdd, {Times(b, slots[1], std::get<double>(attrs[kMomentum])), now});
  return {b(kSubtract, {w, move}), v, move};
}

}  // namespace

constinit const OpDef ops::kRmspropMomentumUpdate = {
    .name = "rmsprop_momentum_update",
    .doc =
        "One step of RMSprop with momentum for all variables: m' = momentum m + lr g /\n"
        "sqrt(v' + epsilon), w' = w - m', with v' as in rmsprop_update.\n"
        "rho: share of the average that is kept.\n"
        "momentum: share of the last move that is kept.\n"
        "epsilon: added under the root." OSTRIA_UPDATE_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kRmspropMomentumUpdate, Rule>,
};

}  // namespace ostria
