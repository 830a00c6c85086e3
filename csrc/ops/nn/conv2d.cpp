// SPDX-License-Identifier: Apache-2.0
#include "ops/common/conv.h"

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"kernel"}};
constexpr AttrDef kAttrs[] = {kConvStrides, kConvPadding, kConvDilation, kConvGroups};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  c.Out(c.dtype(0), InferConv(c, c.shape(0), c.shape(1)));
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const auto attrs = b.graph().attrs(c.node());
  const Shape x = b.shape(c.input(0)), kernel = b.shape(c.input(1));
  const std::vector<Attr> for_input = WithSize(attrs, x[1], x[2]);
  const std::vector<Attr> for_filter = WithSize(attrs, kernel[1], kernel[2]);
  const Value g = c.cotangent();
  if (c.Needs(0)) c.Set(0, b(kConv2dGradInput, {g, c.input(1)}, for_input));
  if (c.Needs(1)) c.Set(1, b(kConv2dGradFilter, {c.input(0), g}, for_filter));
}

// One matrix product per position of the kernel.
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kConv2d, in, attrs);
  const Shape kernel = b.shape(in[1]);
  const int64_t groups = std::get<int64_t>(attrs[ConvAttr::kGroups]);
  const Window window = ConvWindow(attrs, KernelSize(kernel));
  std::vector<ValueType> types = {b.type(in[0]), b.type(in[1])}, result;
  InferTypes(kConv2d, types, attrs, &result);
  const Shape y = result[0].shape;
  const Value padded = PadImage(b, window, in[0], 0);
  Value sum;
  for (int64_t i = 0; i < window.size[0]; ++i) {
    for (int64_t j = 0; j < window.size[1]; ++j) {
      const Value x = RowsOfImage(b, TakePosition(b, window, padded, {y[1], y[2]}, i, j), groups);
      const Value w = KernelPosition(b, in[1], groups, i, j);
      const Value product = b(kMatmul, {x, w}, {false, true});
      sum = sum.valid() ? b(kAdd, {sum, product}) : product;
    }
  }
  return {ImageOfRows(b, sum, groups, y)};
}

double Flops(std::span<const ValueType> in, std::span<const ValueType> out, std::span<const Attr>) {
  return ConvFlops(out[0].shape, in[1].shape);
}

}  // namespace

constinit const OpDef ops::kConv2d = {
    .name = "conv2d",
    .doc =
        "Two-dimensional convolution (cross-correlation) of images x [n, h, w, in] with kernel\n"
        "[out, kh, kw, in / groups], giving [n, h', w', out].\n"
        "strides: steps of the window in height and width.\n"
        "padding: zeros added at the top, bottom, left and right.\n"
        "dilation: distance between neighbouring kernel elements.\n"
        "groups: the channels fall into that many groups with kernels of their own.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kLow},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
    .flops = Flops,
};

}  // namespace ostria
