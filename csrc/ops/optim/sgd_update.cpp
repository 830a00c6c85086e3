// SPDX-License-Identifier: Apache-2.0
// Exact by rows without decay: w - 0 is w.
#include "ops/common/build.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr auto kInputs = RowUpdateInputs<UpdateTakes::kRate>();
constexpr auto kAttrs = UpdateAttrs();
constexpr auto kOutputs = UpdateOutputs();

void Infer(InferContext& c) { InferUpdate(c); }

std::vector<Value> Rule(Builder& b, std::span<const Attr>, Value w, Value g, std::span<const Value>,
                        Value lr, Value) {
  return {b(kSubtract, {w, b(kMultiply, {g, lr})})};
}

}  // namespace

constinit const OpDef ops::kSgdUpdate = {
    .name = "sgd_update",
    .doc = "One step of gradient descent for all variables: w - lr grad_scale g." OSTRIA_ROWS_DOC,
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = kUpdateTraits,
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .decompose = DecomposeByRule<ops::kSgdUpdate, Rule>,
};

}  // namespace ostria
