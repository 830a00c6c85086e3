// SPDX-License-Identifier: Apache-2.0
// Batch normalisation as training sees it. The moving averages are the layer's business: mean and
// var are outputs, and what becomes of them is state.
#include "ir/grad_context.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"scale"}, {"bias"}};
constexpr AttrDef kAttrs[] = {{"epsilon", AttrType::kFloat, "0.001"}};
constexpr OutputDef kOutputs[] = {{"y"}, {"mean"}, {"var"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const Shape channels = InferChannels(c, 0);
  RequireParameters(c, 1, channels);
  RequireEpsilon(c, NormAttr::kEpsilon);
  c.Out(c.input(0));
  c.Out(c.dtype(1), channels);
  c.Out(c.dtype(1), channels);
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const double epsilon = c.attr<double>(NormAttr::kEpsilon);
  const Value x = c.input(0), mean = c.output(1), var = c.output(2);
  const auto d = b.Multi(kBatchNormGrad, {c.cotangent(), x, c.input(1), mean, var}, {epsilon});
  Value dx = d[0];
  const auto [axes, rows] = LeadingAxes(b, x);
  const DType dtype = b.dtype(mean);            // x may have 16 bits
  const Shape count{Max(rows.numel_dim(), 1)};  // nothing divides by 0 when there are no rows
  if (c.HasCotangent(1)) {                      // mean = sum(x) / n
    const Value share = b(kDivide, {c.cotangent(1), DimProduct(b, count, dtype)});
    dx = b(kAdd, {dx, Cast(b, share, b.dtype(x))});
  }
  if (c.HasCotangent(2)) {  // var = sum((x - mean)^2) / n; the mean's part of it cancels
    const Value slope = Times(b, b(kDivide, {c.cotangent(2), DimProduct(b, count, dtype)}), 2);
    const Value centered = b(kSubtract, {Cast(b, x, dtype), mean});
    dx = b(kAdd, {dx, Cast(b, b(kMultiply, {centered, slope}), b.dtype(x))});
  }
  c.Set(0, dx);
  c.Set(1, d[1]);
  c.Set(2, d[2]);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kBatchNorm, in, attrs);
  const auto [axes, rows] = LeadingAxes(b, in[0]);
  const Value mean = b(kMean, {in[0]}, {axes, false});
  const Value centered = b(kSubtract, {in[0], mean});
  const Value var = b(kMean, {b(kSquare, {centered})}, {axes, false});
  const Value rstd = b(kRsqrt, {Plus(b, var, std::get<double>(attrs[NormAttr::kEpsilon]))});
  const Value scaled = b(kMultiply, {centered, b(kMultiply, {rstd, in[1]})});
  return {b(kAdd, {scaled, in[2]}), mean, var};
}

}  // namespace

constinit const OpDef ops::kBatchNorm = {
    .name = "batch_norm",
    .doc =
        "x normalised over all axes but the last: y = (x - mean) / sqrt(var + epsilon) * scale + "
        "bias.\n"
        "Also gives the batch's mean and (biased) variance per channel. Where x has 16 bits, the\n"
        "numbers per channel may be float32.\n"
        "epsilon: added to the variance.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
