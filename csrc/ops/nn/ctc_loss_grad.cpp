// SPDX-License-Identifier: Apache-2.0
// g (softmax(logits) - the share of alignments that are at a class), step by step.
#include "ops/common/ctc.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr std::span<const AttrDef> kAttrs{kCtcAttrs, CtcAttr::kZeroInfinity};

void Infer(InferContext& c) {
  const Dim batch = InferCtc(c);
  RequireSameDType(c, CtcInput::kLogits, CtcInput::kG);
  RequireRank(c, CtcInput::kG, 1, "[batch]");
  RequireEqual(c, batch, c.shape(CtcInput::kG)[0], "the batch sizes of 'logits' and 'g'");
  c.Out(c.input(CtcInput::kLogits));
}

// As the loss, in both directions, and per logit its share of the softmax.
double Flops(std::span<const ValueType> in, std::span<const ValueType>, std::span<const Attr>) {
  const Shape& logits = in[CtcInput::kLogits].shape;
  const auto states = static_cast<double>(2 * in[CtcInput::kLabels].shape[1].value() + 1);
  return 7.0 * static_cast<double>(logits.numel()) +
         24.0 * states * static_cast<double>(logits[0].value() * logits[1].value());
}

}  // namespace

constinit const OpDef ops::kCtcLossGrad = {
    .name = "ctc_loss_grad",
    .doc = "The gradient of ctc_loss with respect to the logits.",
    .inputs = kCtcInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true, .internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = NoGrad("second derivatives of ctc_loss are sums over pairs of steps, and not built"),
    .flops = Flops,
};

}  // namespace ostria
