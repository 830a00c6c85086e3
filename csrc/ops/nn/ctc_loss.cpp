// SPDX-License-Identifier: Apache-2.0
// Connectionist temporal classification. No residual: the gradient runs the recursion again, since
// its tables are larger than the logits where labels are long.
#include "ops/common/ctc.h"

#include "ir/grad_context.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr std::span<const InputDef> kInputs{kCtcInputs, CtcInput::kG};

void Infer(InferContext& c) { c.Out(c.dtype(CtcInput::kLogits), {InferCtc(c)}); }

void Grad(GradContext& c) {
  std::vector<Value> in;
  for (int i = 0; i < CtcInput::kG; ++i) in.push_back(c.input(i));
  in.push_back(c.cotangent());
  c.Set(CtcInput::kLogits, c.b(kCtcLossGrad, in, {c.attr<int64_t>(CtcAttr::kBlank)}));
}

// Per logit the three of a log-sum-exp; per step and state a sum of three exponentials in logs.
double Flops(std::span<const ValueType> in, std::span<const ValueType>, std::span<const Attr>) {
  const Shape& logits = in[CtcInput::kLogits].shape;
  const auto states = static_cast<double>(2 * in[CtcInput::kLabels].shape[1].value() + 1);
  return 3.0 * static_cast<double>(logits.numel()) +
         10.0 * states * static_cast<double>(logits[0].value() * logits[1].value());
}

}  // namespace

constinit const OpDef ops::kCtcLoss = {
    .name = "ctc_loss",
    .doc =
        "Minus the log-probability of a sequence of labels, over all its alignments with the steps "
        "of logits (Graves et al. 2006).\n"
        "Logits [batch, time, classes] need not be normalised. Between labels an alignment may "
        "have blanks, and repeats of a label; two equal labels in a row need a blank between. "
        "Labels [batch, labels] beyond their length are not read. Where no alignment exists the "
        "loss is infinite and its gradient 0. It has no second derivative. A length or a label out "
        "of range is an error when the step runs.\n"
        "logit_lengths: steps that count, per sequence.\n"
        "label_lengths: labels that count, per sequence.\n"
        "blank: the class that stands for no label; negative ones count from the end.\n"
        "zero_infinity: infinite losses are 0.",
    .inputs = kInputs,
    .attrs = kCtcAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false, .checks_data = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .flops = Flops,
};

}  // namespace ostria
