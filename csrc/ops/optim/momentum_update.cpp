// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kMomentum, kNesterov };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRate>("m");
constexpr auto kAttrs =
    UpdateAttrs(Number("momentum"), AttrDef{"nesterov", AttrType::kBool, "false"});
constexpr auto kOutputs = UpdateOutputs("m_out");

void Infer(InferContext& c) {
  const double momentum = c.attr<double>(kMomentum);
  if (!(momentum >= 0 && momentum <= 1)) {
    c.Fail("momentum is ", momentum, "; it must be between 0 and 1");
  }
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const double momentum = std::get<double>(attrs[kMomentum]);
  const Value move_now = b(kMultiply, {g, lr});
  const Value m = b(kSubtract, {Times(b, slots[0], momentum), move_now});
  const Value move =
      std::get<bool>(attrs[kNesterov]) ? b(kSubtract, {Times(b, m, momentum), move_now}) : m;
  return {b(kAdd, {w, move}), m};
}

}  // namespace

constinit const OpDef ops::kMomentumUpdate = {
    .name = "momentum_update",
    .doc =
        "One step of gradient descent with momentum for all variables (Keras's SGD):\n"
        "m' = momentum m - lr grad_scale g, w' = w + m'.\n"
        "momentum: share of the velocity that is kept.\n"
        "nesterov: w' = w + momentum m' - lr grad_scale g instead." OSTRIA_UPDATE_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kMomentumUpdate, Rule>,
};

}  // namespace ostria
