// SPDX-License-Identifier: Apache-2.0
// The loss of a classifier from logits and class numbers. No residual: the gradient reads the
// logits once more, which costs the same memory as keeping probabilities and less than writing
// them.
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/classes.h"
#include "ops/common/infer.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"logits"}, {"labels", Arity::kOne, false}};
constexpr AttrDef kAttrs[] = {{"classes", AttrType::kInt, "-1"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireIndex(c, 1);
  Shape rows = c.shape(0);
  if (rows.rank() == 0)
    c.Fail("'logits' must have rank 1 or more: its last axis holds the classes");
  rows.Remove(rows.rank() - 1);
  if (!(rows == c.shape(1))) {
    c.Fail("'labels' must have shape ", rows, " for logits ", c.shape(0), ", but has shape ",
           c.shape(1), "; give class numbers, not one-hot rows");
  }
  RequireClasses(c);
  c.Out(c.dtype(0), rows);
}

void Grad(GradContext& c) {
  c.Set(0, c.b.Multi(kSparseSoftmaxCrossEntropyGrad, {c.input(0), c.input(1), c.cotangent()},
                     {c.attr<int64_t>(kClassesAttr)})[0]);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSparseSoftmaxCrossEntropy, in, attrs);
  if (HasTail(b, in[0], attrs)) {
    return {b(kSparseSoftmaxCrossEntropy, {WithoutTail(b, in[0], attrs), in[1]})};
  }
  const ValueType logits = b.type(in[0]);
  const int64_t classes = logits.shape[logits.shape.rank() - 1].value();
  const Value chosen = b(kOneHot, {in[1]}, {classes, logits.dtype});
  const Value logp = b(kLogSoftmax, {in[0]}, {int64_t{-1}});
  const Value picked = b(kSum, {b(kMultiply, {chosen, logp})}, {std::vector<int64_t>{-1}, false});
  return {b(kNegative, {picked})};
}

// Maximum, difference, exponential and sum over the logits; per row a logarithm and a difference.
// The decomposition picks the label's logit by a product, which is no arithmetic of the loss.
double Flops(std::span<const ValueType> in, std::span<const ValueType> out, std::span<const Attr>) {
  return 4.0 * static_cast<double>(in[0].shape.numel()) +
         2.0 * static_cast<double>(out[0].shape.numel());
}

}  // namespace

constinit const OpDef ops::kSparseSoftmaxCrossEntropy = {
    .name = "sparse_softmax_cross_entropy",
    .doc =
        "-log(softmax(logits)[label]) for every row of logits [.., classes] and labels [..].\n"
        "A label outside 0..classes-1 is an IndexError when the step runs.\n"
        "classes: so many elements of a row are classes, and what lies behind them counts for\n"
        "nothing; -1: all of them.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .flops = Flops,
};

}  // namespace ostria
