// SPDX-License-Identifier: Apache-2.0
// The output rstd is what the gradient wants to know; layers use y alone.
#include "ir/grad_context.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"scale"}};
constexpr AttrDef kAttrs[] = {{"epsilon", AttrType::kFloat, "1e-06"},
                              {"axes", AttrType::kInt, "1"}};
constexpr OutputDef kOutputs[] = {{"y"}, {"rstd"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const Shape& x = c.shape(0);
  const int last = RequireRowAxes(c, c.attr<int64_t>(NormAttr::kAxes), x);
  RequireChannels(c, 1, LastDims(x, last));
  RequireEpsilon(c, NormAttr::kEpsilon);
  c.Out(c.input(0));
  c.Out(c.dtype(0), FirstDims(x, x.rank() - last));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kRmsNorm, in, attrs);
  const Shape x = b.shape(in[0]);
  const int rank = x.rank(), last = static_cast<int>(std::get<int64_t>(attrs[NormAttr::kAxes]));
  const Value square = b(kMean, {b(kSquare, {in[0]})}, {AxisRange(rank - last, rank), true});
  const Value rstd = b(kRsqrt, {Plus(b, square, std::get<double>(attrs[NormAttr::kEpsilon]))});
  return {b(kMultiply, {b(kMultiply, {in[0], rstd}), in[1]}),
          Reshape(b, rstd, FirstDims(x, rank - last))};
}

void Grad(GradContext& c) {
  if (c.HasCotangent(1)) return c.ThroughDecomposition();  // second derivatives
  const auto d = c.b.Multi(kRmsNormGrad, {c.cotangent(), c.input(0), c.input(1), c.output(1)},
                           {c.attr<int64_t>(NormAttr::kAxes)});
  for (int i = 0; i < 2; ++i) c.Set(i, d[i]);
}

}  // namespace

constinit const OpDef ops::kRmsNorm = {
    .name = "rms_norm",
    .doc =
        "x divided by the root of its mean square over the last axes (Zhang, Sennrich 2019):\n"
        "y = x / sqrt(mean(x^2) + epsilon) * scale.\n"
        "Also gives 1 / sqrt(mean(x^2) + epsilon) of every row.\n"
        "epsilon: added to the mean square.\n"
        "axes: how many last axes make a row; scale has their shape.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.loop = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
