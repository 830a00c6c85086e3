// SPDX-License-Identifier: Apache-2.0
// Exact by rows without decay: a + 0 is a, w - 0 is w.
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kEpsilon };
constexpr auto kInputs = RowUpdateInputs<UpdateTakes::kRate>("a");
constexpr auto kAttrs = UpdateAttrs(Number("epsilon", "1e-07"));
constexpr auto kOutputs = UpdateOutputs("a_out");

void Infer(InferContext& c) { InferUpdate(c); }

std::vector<Value> Rule(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                        std::span<const Value> slots, Value lr, Value) {
  const Value a = b(kAdd, {slots[0], b(kSquare, {g})});
  const Value scale = b(kSqrt, {Plus(b, a, std::get<double>(attrs[kEpsilon]))});
  return {b(kSubtract, {w, b(kDivide, {b(kMultiply, {g, lr}), scale})}), a};
}

}  // namespace

constinit const OpDef ops::kAdagradUpdate = {
    .name = "adagrad_update",
    .doc =
        "One step of Adagrad (Duchi et al. 2011) for all variables: a' = a + g^2,\n"
        "w' = w - lr g / sqrt(a' + epsilon), with g scaled by grad_scale.\n"
        "epsilon: added under the root." OSTRIA_ROWS_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kAdagradUpdate, Rule>,
};

}  // namespace ostria
