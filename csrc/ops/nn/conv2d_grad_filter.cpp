// SPDX-License-Identifier: Apache-2.0
// Linear in the image and in the cotangent g of conv2d's result: the adjoint of conv2d in its
// kernel.
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/conv.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"g"}};
constexpr AttrDef kAttrs[] = {
    kConvStrides, kConvPadding, kConvDilation, kConvGroups, {"size", AttrType::kShape}};

Shape KernelShape(const Shape& x, const Shape& g, std::span<const Attr> attrs) {
  const Shape& size = std::get<Shape>(attrs[ConvAttr::kSize]);
  return {g[3], size[0], size[1], FloorDiv(x[3], std::get<int64_t>(attrs[ConvAttr::kGroups]))};
}

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  RequireRank(c, 0, 4, "batch, height, width, channels");
  RequireRank(c, 1, 4, "batch, height, width, channels");
  if (c.attr<int64_t>(ConvAttr::kGroups) < 1) c.Fail("groups must be positive");
  const Shape kernel = KernelShape(c.shape(0), c.shape(1), c.attrs());
  const Shape y = InferConv(c, c.shape(0), kernel);
  if (!(y == c.shape(1))) c.Fail("'g' has shape ", c.shape(1), ", but conv2d gives ", y);
  c.Out(c.dtype(0), kernel);
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const auto attrs = b.graph().attrs(c.node());
  const Shape x = b.shape(c.input(0));
  const std::vector<Attr> plain = WithoutSize(attrs);
  const std::vector<Attr> for_input = WithSize(attrs, x[1], x[2]);
  const Value u = c.cotangent();
  if (c.Needs(0)) c.Set(0, b(kConv2dGradInput, {c.input(1), u}, for_input));
  if (c.Needs(1)) c.Set(1, b(kConv2d, {c.input(0), u}, plain));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kConv2dGradFilter, in, attrs);
  const Shape g = b.shape(in[1]), kernel = KernelShape(b.shape(in[0]), g, attrs);
  const int64_t groups = std::get<int64_t>(attrs[ConvAttr::kGroups]);
  const Window window = ConvWindow(attrs, KernelSize(kernel));
  const Value padded = PadImage(b, window, in[0], 0), rows = RowsOfImage(b, in[1], groups);
  std::vector<Value> columns;
  for (int64_t i = 0; i < window.size[0]; ++i) {
    std::vector<Value> row;
    for (int64_t j = 0; j < window.size[1]; ++j) {
      const Value x = RowsOfImage(b, TakePosition(b, window, padded, {g[1], g[2]}, i, j), groups);
      const Value product = b(kMatmul, {rows, x}, {true, false});
      row.push_back(Reshape(b, product, {kernel[0], 1, 1, kernel[3]}));
    }
    columns.push_back(row.size() == 1 ? row[0] : b(kConcat, row, {int64_t{2}}));
  }
  return {columns.size() == 1 ? columns[0] : b(kConcat, columns, {int64_t{1}})};
}

double Flops(std::span<const ValueType> in, std::span<const ValueType> out, std::span<const Attr>) {
  return ConvFlops(in[1].shape, out[0].shape);
}

}  // namespace

constinit const OpDef ops::kConv2dGradFilter = {
    .name = "conv2d_grad_filter",
    .doc =
        "The gradient of conv2d with respect to its kernel.\n"
        "strides: as for conv2d.\n"
        "padding: as for conv2d.\n"
        "dilation: as for conv2d.\n"
        "groups: as for conv2d.\n"
        "size: the kernel's height and width.",
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
