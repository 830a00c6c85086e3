// SPDX-License-Identifier: Apache-2.0
// A product with the matrix of ops/common/resample.h along one axis: linear in x, and its adjoint
// is the same op with the transposed matrix.
#include "ops/common/resample.h"

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt},
                              {"size", AttrType::kInt},
                              {"method", AttrType::kString},
                              {"transpose", AttrType::kBool, "false"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  Shape y = c.shape(0);
  const int axis = NormalizeAxis(c, c.attr<int64_t>(ResampleAttr::kAxis), y);
  const int64_t size = c.attr<int64_t>(ResampleAttr::kSize);
  if (size < 1) c.Fail("size is ", size, "; it must be positive");
  if (!y[axis].is_static() || y[axis].value() < 1) {
    c.Fail("axis ", axis, " of x ", y, " must have a fixed size of at least 1");
  }
  Interpolation method;
  const std::string& name = c.attr<std::string>(ResampleAttr::kMethod);
  if (!ParseInterpolation(name, &method) || method == Interpolation::kNearest) {
    c.Fail("method \"", name, "\" is not known; accepted are \"bilinear\" and \"bicubic\"");
  }
  y[axis] = size;
  c.Out(c.dtype(0), y);
}

void Grad(GradContext& c) {
  const Shape x = c.b.shape(c.input(0));
  const int64_t axis = Axis(c.attr<int64_t>(ResampleAttr::kAxis), x.rank());
  c.Set(0, c.b(kResample, {c.cotangent()},
               {axis, x[static_cast<int>(axis)].value(), c.attr<std::string>(ResampleAttr::kMethod),
                !c.attr<bool>(ResampleAttr::kTranspose)}));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kResample, in, attrs);
  Shape shape = b.shape(in[0]);
  const int axis = Axis(std::get<int64_t>(attrs[ResampleAttr::kAxis]), shape.rank());
  const int64_t from = shape[axis].value(), to = std::get<int64_t>(attrs[ResampleAttr::kSize]);
  const Taps taps = TapsOf(attrs, from);
  const Tensor matrix = Tensor::Zeros(DType::kFloat64, {to, from});
  for (int64_t i = 0; i < to; ++i) {
    std::copy_n(&taps.weights[i * taps.width], taps.count[i],
                matrix.data<double>() + i * from + taps.first[i]);
  }
  Dim before = 1, after = 1;
  for (int i = 0; i < axis; ++i) before = before * shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) after = after * shape[i];
  const Value weights = Cast(b, b(kConstant, {}, {matrix}), b.dtype(in[0]));
  const Value y = b(kMatmul, {weights, Reshape(b, in[0], {before, from, after})});
  shape[axis] = to;
  return {Reshape(b, y, shape)};
}

// A product and an addition per weight, for every position on the other axes.
double Flops(std::span<const ValueType> in, std::span<const ValueType>,
             std::span<const Attr> attrs) {
  const Shape& x = in[0].shape;
  const int axis = Axis(std::get<int64_t>(attrs[ResampleAttr::kAxis]), x.rank());
  const int64_t from = x[axis].value();
  return 2.0 * static_cast<double>(TapsOf(attrs, from).total()) *
         static_cast<double>(x.numel() / from);
}

}  // namespace

constinit const OpDef ops::kResample = {
    .name = "resample",
    .doc =
        "x interpolated along one axis: what resize is made of.\n"
        "axis: the axis.\n"
        "size: its new size.\n"
        "method: \"bilinear\" or \"bicubic\".\n"
        "transpose: by the transpose of the matrix that interpolates from `size` elements.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .flops = Flops,
};

}  // namespace ostria
