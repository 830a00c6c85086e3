// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kRho, kEpsilon };
constexpr auto kInputs = UpdateInputs<UpdateTakes::kRate>("a", "d");
constexpr auto kAttrs = UpdateAttrs(Number("rho", "0.95"), Number("epsilon", "1e-07"));
constexpr auto kOutputs = UpdateOutputs("a_out", "d_out");

void Infer(InferContext& c) {
  RequireShares(c, {kRho});
  InferUpdate(c);
}

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const double rho = std::get<double>(attrs[kRho]), epsilon = std::get<double>(attrs[kEpsilon]);
  const Value a = Mix(b, slots[0], b(kSquare, {g}), rho);
  const Value ratio =
      b(kDivide, {b(kSqrt, {Plus(b, slots[1], epsilon)}), b(kSqrt, {Plus(b, a, epsilon)})});
  const Value move = b(kMultiply, {ratio, g});
  const Value d = Mix(b, slots[1], b(kSquare, {move}), rho);
  return {b(kSubtract, {w, b(kMultiply, {move, lr})}), a, d};
}

}  // namespace

constinit const OpDef ops::kAdadeltaUpdate = {
    .name = "adadelta_update",
    .doc =
        "One step of Adadelta (Zeiler 2012) for all variables: a' = rho a + (1 - rho) g^2,\n"
        "x = g sqrt(d + epsilon) / sqrt(a' + epsilon), d' = rho d + (1 - rho) x^2, w' = w - lr x.\n"
        "rho: share of both averages that is kept.\n"
        "epsilon: added under the roots." OSTRIA_UPDATE_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kAdadeltaUpdate, Rule>,
};

}  // namespace ostria
