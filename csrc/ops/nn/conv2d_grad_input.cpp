// SPDX-License-Identifier: Apache-2.0
// Linear in the cotangent g of conv2d's result and in the kernel: the adjoint of conv2d in x.
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/conv.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"g"}, {"kernel"}};
constexpr AttrDef kAttrs[] = {
    kConvStrides, kConvPadding, kConvDilation, kConvGroups, {"size", AttrType::kShape}};

Shape ImageShape(const Shape& g, const Shape& kernel, std::span<const Attr> attrs) {
  const Shape& size = std::get<Shape>(attrs[ConvAttr::kSize]);
  return {g[0], size[0], size[1], kernel[3] * Dim(std::get<int64_t>(attrs[ConvAttr::kGroups]))};
}

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  RequireRank(c, 0, 4, "batch, height, width, channels");
  RequireRank(c, 1, 4, "out, height, width, in / groups");
  const Shape image = ImageShape(c.shape(0), c.shape(1), c.attrs());
  const Shape y = InferConv(c, image, c.shape(1));
  if (!(y == c.shape(0))) c.Fail("'g' has shape ", c.shape(0), ", but conv2d gives ", y);
  c.Out(c.dtype(0), image);
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const auto attrs = b.graph().attrs(c.node());
  const Shape kernel = b.shape(c.input(1));
  const std::vector<Attr> plain = WithoutSize(attrs);
  const std::vector<Attr> for_filter = WithSize(attrs, kernel[1], kernel[2]);
  const Value u = c.cotangent();
  if (c.Needs(0)) c.Set(0, b(kConv2d, {u, c.input(1)}, plain));
  if (c.Needs(1)) c.Set(1, b(kConv2dGradFilter, {u, c.input(0)}, for_filter));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kConv2dGradInput, in, attrs);
  const Shape g = b.shape(in[0]), kernel = b.shape(in[1]);
  const int64_t groups = std::get<int64_t>(attrs[ConvAttr::kGroups]);
  const Window window = ConvWindow(attrs, KernelSize(kernel));
  const Shape image = ImageShape(g, kernel, attrs);
  Shape padded = image, taken = g;
  for (int i = 0; i < 2; ++i) padded[i + 1] = image[i + 1] + Dim(window.low[i] + window.high[i]);
  taken[3] = image[3];
  const Value rows = RowsOfImage(b, in[0], groups);
  Value sum;
  for (int64_t i = 0; i < window.size[0]; ++i) {
    for (int64_t j = 0; j < window.size[1]; ++j) {
      const Value product = b(kMatmul, {rows, KernelPosition(b, in[1], groups, i, j)});
      const Value placed =
          PlacePosition(b, window, ImageOfRows(b, product, groups, taken), padded, i, j);
      sum = sum.valid() ? b(kAdd, {sum, placed}) : placed;
    }
  }
  return {CropImage(b, window, sum, image)};
}

double Flops(std::span<const ValueType> in, std::span<const ValueType>, std::span<const Attr>) {
  return ConvFlops(in[0].shape, in[1].shape);
}

}  // namespace

constinit const OpDef ops::kConv2dGradInput = {
    .name = "conv2d_grad_input",
    .doc =
        "The gradient of conv2d with respect to its image.\n"
        "strides: as for conv2d.\n"
        "padding: as for conv2d.\n"
        "dilation: as for conv2d.\n"
        "groups: as for conv2d.\n"
        "size: the image's height and width.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true, .amp = Amp::kLow},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
    .flops = Flops,
};

}  // namespace ostria
