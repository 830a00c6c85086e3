// SPDX-License-Identifier: Apache-2.0
// Linear in the cotangent g of a convolution's result and in the kernel: the adjoint of conv1d,
// conv2d and conv3d in x.
#include "ops/common/build.h"
#include "ops/common/conv.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"g"}, {"kernel"}};
constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts},
                              {"padding", AttrType::kInts},
                              {"dilation", AttrType::kInts},
                              {"groups", AttrType::kInt},
                              {"size", AttrType::kShape}};

Shape ImageShape(const Shape& g, const Shape& kernel, std::span<const Attr> attrs) {
  const Dim groups = std::get<int64_t>(attrs[ConvAttr::kGroups]);
  return AroundSize(g[0], attrs, kernel[kernel.rank() - 1] * groups);
}

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  const int dims = SpatialDims(c, 0);
  RequireRank(c, 1, dims + 2, StrCat("out, ", SpatialNames(dims), ", in / groups"));
  const Shape image = ImageShape(c.shape(0), c.shape(1), c.attrs());
  const Shape y = InferConv(c, dims, image, c.shape(1));
  if (!(y == c.shape(0))) c.Fail("'g' has shape ", c.shape(0), ", but the convolution gives ", y);
  c.Out(c.dtype(0), image);
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const auto attrs = b.graph().attrs(c.node());
  const Shape kernel = b.shape(c.input(1));
  const std::vector<Attr> plain = WithoutSize(attrs), for_filter = WithSize(attrs, kernel);
  const Value u = c.cotangent();
  if (c.Needs(0)) c.Set(0, b(ConvOp(kernel.rank() - 2), {u, c.input(1)}, plain));
  if (c.Needs(1)) c.Set(1, b(kConvGradFilter, {u, c.input(0)}, for_filter));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kConvGradInput, in, attrs);
  const Shape g = b.shape(in[0]), kernel = b.shape(in[1]);
  const int64_t groups = std::get<int64_t>(attrs[ConvAttr::kGroups]);
  const Window window = ConvWindow(attrs, kernel);
  const Shape image = ImageShape(g, kernel, attrs), padded = PaddedShape(window, image);
  Shape taken = g;
  taken[g.rank() - 1] = image[g.rank() - 1];
  const Value rows = RowsOfImage(b, in[0], groups);
  Value sum;
  for (int64_t p = 0; p < window.positions(); ++p) {
    const Value product = b(kMatmul, {rows, KernelPosition(b, window, in[1], groups, p)});
    const Value placed =
        PlacePosition(b, window, ImageOfRows(b, product, groups, taken), padded, p);
    sum = sum.valid() ? b(kAdd, {sum, placed}) : placed;
  }
  return {CropImage(b, window, sum, image)};
}

double Flops(std::span<const ValueType> in, std::span<const ValueType>, std::span<const Attr>) {
  return ConvFlops(in[0].shape, in[1].shape);
}

}  // namespace

constinit const OpDef ops::kConvGradInput = {
    .name = "conv_grad_input",
    .doc =
        "The gradient of conv1d, conv2d or conv3d with respect to its image.\n"
        "strides: as for the convolution.\n"
        "padding: as for the convolution.\n"
        "dilation: as for the convolution.\n"
        "groups: as for the convolution.\n"
        "size: the image's spatial sizes.",
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
