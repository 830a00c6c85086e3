// SPDX-License-Identifier: Apache-2.0
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

constexpr InputDef kInputs[] = {{"x"}};

void Infer(InferContext& c) { c.Out(c.input(0)); }

std::vector<Value> Decompose(Builder&, std::span<const Value> inputs, std::span<const Attr>) {
  return {inputs[0]};
}

}  // namespace

constinit const OpDef ops::kStopGradient = {
    .name = "stop_gradient",
    .doc = "x itself, but a constant to differentiation: nothing flows back through it.",
    .inputs = kInputs,
    .outputs = kOneOutput,
    .traits = {.view = true, .smooth = false},
    .infer = Infer,
    .grad = GradRule::Zero(),
    .decompose = Decompose,
};

}  // namespace ostria
