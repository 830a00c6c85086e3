// SPDX-License-Identifier: Apache-2.0
// Linear in the image and in the cotangent g of a convolution's result: the adjoint of conv1d,
// conv2d and conv3d in the kernel.
#include "ops/common/build.h"
#include "ops/common/conv.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"g"}};
constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts},
                              {"padding", AttrType::kInts},
                              {"dilation", AttrType::kInts},
                              {"groups", AttrType::kInt},
                              {"size", AttrType::kShape}};

Shape KernelShape(const Shape& x, const Shape& g, std::span<const Attr> attrs) {
  const int last = x.rank() - 1;
  return AroundSize(g[last], attrs, FloorDiv(x[last], std::get<int64_t>(attrs[ConvAttr::kGroups])));
}

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  const int dims = SpatialDims(c, 0);
  RequireImage(c, 1, dims);
  if (c.attr<int64_t>(ConvAttr::kGroups) < 1) c.Fail("groups must be positive");
  const Shape kernel = KernelShape(c.shape(0), c.shape(1), c.attrs());
  const Shape y = InferConv(c, dims, c.shape(0), kernel);
  if (!(y == c.shape(1))) c.Fail("'g' has shape ", c.shape(1), ", but the convolution gives ", y);
  c.Out(c.dtype(0), kernel);
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const auto attrs = b.graph().attrs(c.node());
  const Shape x = b.shape(c.input(0));
  const std::vector<Attr> plain = WithoutSize(attrs), for_input = WithSize(attrs, x);
  const Value u = c.cotangent();
  if (c.Needs(0)) c.Set(0, b(kConvGradInput, {c.input(1), u}, for_input));
  if (c.Needs(1)) c.Set(1, b(ConvOp(x.rank() - 2), {c.input(0), u}, plain));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kConvGradFilter, in, attrs);
  const Shape g = b.shape(in[1]), kernel = KernelShape(b.shape(in[0]), g, attrs);
  const int64_t groups = std::get<int64_t>(attrs[ConvAttr::kGroups]);
  const Window window = ConvWindow(attrs, kernel);
  const Value padded = PadImage(b, window, in[0], 0), rows = RowsOfImage(b, in[1], groups);
  std::vector<Value> parts;
  for (int64_t p = 0; p < window.positions(); ++p) {
    const Value x = RowsOfImage(b, TakePosition(b, window, padded, g, p), groups);
    const Value product = b(kMatmul, {rows, x}, {true, false});
    parts.push_back(Reshape(b, product, {kernel[0], 1, kernel[kernel.rank() - 1]}));
  }
  return {Reshape(b, parts.size() == 1 ? parts[0] : b(kConcat, parts, {int64_t{1}}), kernel)};
}

double Flops(std::span<const ValueType> in, std::span<const ValueType> out, std::span<const Attr>) {
  return ConvFlops(in[1].shape, out[0].shape);
}

}  // namespace

constinit const OpDef ops::kConvGradFilter = {
    .name = "conv_grad_filter",
    .doc =
        "The gradient of conv1d, conv2d or conv3d with respect to its kernel.\n"
        "strides: as for the convolution.\n"
        "padding: as for the convolution.\n"
        "dilation: as for the convolution.\n"
        "groups: as for the convolution.\n"
        "size: the kernel's spatial sizes.",
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
