// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kRho, kEpsilon };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRate>("v");
constexpr auto kAttrs = UpdateAttrs(Number("rho", "0.9"), Number("epsilon", "1e-07"));
constexpr auto kOutputs = UpdateOutputs("v_out");

void Infer(InferContext& c) {
  RequireShares(c, {kRho});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const double rho = std::get<double>(attrs[kRho]);
  const Value v = Mix(b, slots[0], b(kSquare, {g}), rho);
  const Value scale = b(kSqrt, {Plus(b, v, std::get<double>(attrs[kEpsilon]))});
  const Value move = b(kDivide, {b(kMultiply, {g, lr}), scale});
  return {b(kSubtract, {w, move}), v};
}

}  // namespace

constinit const OpDef ops::kRmspropUpdate = {
    .name = "rmsprop_update",
    .doc =
        "One step of RMSprop (Hinton 2012) for all variables: v' = rho v + (1 - rho) g^2,\n"
        "w' = w - lr g / sqrt(v' + epsilon).\n"
        "rho: share of the average that is kept.\n"
        "epsilon: added under the root." OSTRIA_UPDATE_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kRmspropUpdate, Rule>,
};

}  // namespace ostria
