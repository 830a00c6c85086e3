// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kRho, kMomentum, kEpsilon };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRate>("v", "a", "m");
constexpr auto kAttrs =
    UpdateAttrs(Number("rho", "0.9"), Number("momentum", "0"), Number("epsilon", "1e-07"));
constexpr auto kOutputs = UpdateOutputs("v_out", "a_out", "m_out");

void Infer(InferContext& c) {
  RequireShares(c, {kRho, kMomentum});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const double rho = std::get<double>(attrs[kRho]);
  const Value v = Mix(b, slots[0], b(kSquare, {g}), rho);
  const Value a = Mix(b, slots[1], g, rho);
  // Of a gradient that does not change the difference is rounding alone, and may be negative.
  const Value spread = b(kMaximum, {b(kSubtract, {v, b(kSquare, {a})}), Scalar(b, b.dtype(w), 0)});
  const Value scale = b(kSqrt, {Plus(b, spread, std::get<double>(attrs[kEpsilon]))});
  const Value now = b(kDivide, {b(kMultiply, {g, lr}), scale});
  const Value move = b(kAdd, {Times(b, slots[2], std::get<double>(attrs[kMomentum])), now});
  return {b(kSubtract, {w, move}), v, a, move};
}

}  // namespace

constinit const OpDef ops::kRmspropCenteredUpdate = {
    .name = "rmsprop_centered_update",
    .doc =
        "One step of centered RMSprop (Graves 2013) for all variables: as rmsprop_momentum_update, "
        "but\n"
        "over sqrt(max(v' - a'^2, 0) + epsilon), the spread of the gradient, with a' = rho a + (1 "
        "- rho) "
        "g.\n"
        "rho: share of the averages that is kept.\n"
        "momentum: share of the last move that is kept.\n"
        "epsilon: added under the root." OSTRIA_UPDATE_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kRmspropCenteredUpdate, Rule>,
};

}  // namespace ostria
