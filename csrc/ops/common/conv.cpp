// SPDX-License-Identifier: Apache-2.0
#include "ops/common/conv.h"

#include "ops/common/build.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria::ops {

using Ints = std::vector<int64_t>;

namespace {

Ints KernelSize(const Shape& kernel) {
  Ints out;
  for (Dim d : SpatialSizes(kernel)) out.push_back(d.value());
  return out;
}

void CheckGroups(const InferContext& c, int64_t groups, const Shape& kernel,
                 std::string_view channels) {
  if (groups < 1 || kernel[0].value() % groups != 0) {
    c.Fail("groups is ", groups, "; it must be positive and divide the ", kernel[0], " ", channels,
           " channels of kernel ", kernel);
  }
}

void CheckKernel(const InferContext& c, int dims, const Shape& kernel, std::string_view first,
                 std::string_view last) {
  if (kernel.rank() != dims + 2) {
    c.Fail("the kernel must have rank ", dims + 2, " (", first, ", ", SpatialNames(dims), ", ",
           last, "), but has shape ", kernel);
  }
  if (!kernel.is_static()) c.Fail("the kernel's shape must be fixed, but is ", kernel);
  for (Dim d : SpatialSizes(kernel)) {
    if (d == Dim(0)) {
      c.Fail("kernel ", kernel, " has no elements to slide; give at least 1 in ",
             SpatialNames(dims));
    }
  }
}

}  // namespace

const OpDef& ConvOp(int dims) { return dims == 1 ? kConv1d : dims == 2 ? kConv2d : kConv3d; }

Shape InferConv(const InferContext& c, int dims, const Shape& image, const Shape& kernel) {
  if (image.rank() != dims + 2) {
    c.Fail("the image must have rank ", dims + 2, " (batch, ", SpatialNames(dims),
           ", channels), but has shape ", image);
  }
  CheckKernel(c, dims, kernel, "out", "in / groups");
  const int64_t groups = c.attr<int64_t>(ConvAttr::kGroups);
  CheckGroups(c, groups, kernel, "output");
  const Dim channels = image[dims + 1], reads = kernel[dims + 1] * Dim(groups);
  if (!(channels == reads)) {
    c.Fail("image ", image, " has ", channels, " channels, but kernel ", kernel,
           " with groups=", groups, " reads ", reads, "; kernels are laid out [out, ",
           SpatialNames(dims), ", in / groups]");
  }
  const Window window =
      ReadWindow(c, KernelSize(kernel), c.attr<Ints>(ConvAttr::kStrides),
                 c.attr<Ints>(ConvAttr::kPadding), &c.attr<Ints>(ConvAttr::kDilation));
  return WindowResult(c, window, image, kernel[0]);
}

Window ConvWindow(std::span<const Attr> attrs, const Shape& kernel) {
  return WindowOf(KernelSize(kernel), std::get<Ints>(attrs[ConvAttr::kStrides]),
                  std::get<Ints>(attrs[ConvAttr::kPadding]),
                  &std::get<Ints>(attrs[ConvAttr::kDilation]));
}

std::vector<Attr> WithSize(std::span<const Attr> attrs, const Shape& image) {
  std::vector<Attr> out = WithoutSize(attrs);
  out.push_back(SpatialSizes(image));
  return out;
}

std::vector<Attr> WithoutSize(std::span<const Attr> attrs) {
  return {attrs.begin(), attrs.begin() + ConvAttr::kSize};
}

Shape AroundSize(Dim first, std::span<const Attr> attrs, Dim last) {
  Shape out = {first};
  for (Dim d : std::get<Shape>(attrs[ConvAttr::kSize])) out.Append(d);
  out.Append(last);
  return out;
}

Value RowsOfImage(Builder& b, Value image, int64_t groups) {
  const Shape s = b.shape(image);
  Dim rows = s[0];
  for (Dim d : SpatialSizes(s)) rows = rows * d;
  const Dim channels = s[s.rank() - 1];
  if (groups == 1) return Reshape(b, image, {rows, channels});
  const Value split = Reshape(b, image, {rows, groups, FloorDiv(channels, groups)});
  return b(kTranspose, {split}, {Ints{1, 0, 2}});
}

Value ImageOfRows(Builder& b, Value rows, int64_t groups, const Shape& image) {
  if (groups > 1) rows = b(kTranspose, {rows}, {Ints{1, 0, 2}});
  return Reshape(b, rows, image);
}

Value KernelPosition(Builder& b, const Window& window, Value kernel, int64_t groups, int64_t p) {
  const Shape s = b.shape(kernel);
  const int rank = s.rank();
  const Window::Sizes place = PlaceOf(window, p);
  Ints start(rank, 0), stop(rank, INT64_MAX);
  for (int i = 0; i < window.dims; ++i) {
    start[i + 1] = place[i];
    stop[i + 1] = place[i] + 1;
  }
  const Value at = b(kSlice, {kernel}, {start, stop});
  if (groups == 1) return Reshape(b, at, {s[0], s[rank - 1]});
  return Reshape(b, at, {groups, FloorDiv(s[0], groups), s[rank - 1]});
}

double ConvFlops(const Shape& result, const Shape& kernel) {
  return 2.0 * static_cast<double>(result.numel()) * static_cast<double>(kernel.numel()) /
         std::max(1.0, static_cast<double>(kernel[0].value()));
}

void InferForward(InferContext& c, int dims) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  c.Out(c.dtype(0), InferConv(c, dims, c.shape(0), c.shape(1)));
}

void GradForward(GradContext& c) {
  Builder& b = c.b;
  const auto attrs = b.graph().attrs(c.node());
  const std::vector<Attr> for_input = WithSize(attrs, b.shape(c.input(0)));
  const std::vector<Attr> for_filter = WithSize(attrs, b.shape(c.input(1)));
  const Value g = c.cotangent();
  if (c.Needs(0)) c.Set(0, b(kConvGradInput, {g, c.input(1)}, for_input));
  if (c.Needs(1)) c.Set(1, b(kConvGradFilter, {c.input(0), g}, for_filter));
}

// One matrix product per position of the kernel.
std::vector<Value> DecomposeForward(Builder& b, std::span<const Value> in,
                                    std::span<const Attr> attrs) {
  const Shape kernel = b.shape(in[1]);
  const OpDef& op = ConvOp(kernel.rank() - 2);
  if (HasHalf(b, in)) return ViaFloat32(b, op, in, attrs);
  const int64_t groups = std::get<int64_t>(attrs[ConvAttr::kGroups]);
  const Window window = ConvWindow(attrs, kernel);
  std::vector<ValueType> types = {b.type(in[0]), b.type(in[1])}, result;
  InferTypes(op, types, attrs, &result);
  const Shape y = result[0].shape;
  const Value padded = PadImage(b, window, in[0], 0);
  Value sum;
  for (int64_t p = 0; p < window.positions(); ++p) {
    const Value x = RowsOfImage(b, TakePosition(b, window, padded, y, p), groups);
    const Value w = KernelPosition(b, window, in[1], groups, p);
    const Value product = b(kMatmul, {x, w}, {false, true});
    sum = sum.valid() ? b(kAdd, {sum, product}) : product;
  }
  return {ImageOfRows(b, sum, groups, y)};
}

double FlopsForward(std::span<const ValueType> in, std::span<const ValueType> out,
                    std::span<const Attr>) {
  return ConvFlops(out[0].shape, in[1].shape);
}

// (count - 1) * stride + reach of the window - padding + output_padding, per axis.
void InferTranspose(InferContext& c, int dims) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  const Shape &x = c.shape(0), &kernel = c.shape(1);
  RequireImage(c, 0, dims);
  CheckKernel(c, dims, kernel, "in", "out / groups");
  const int64_t groups = c.attr<int64_t>(ConvAttr::kGroups);
  CheckGroups(c, groups, kernel, "input");
  if (!(x[dims + 1] == kernel[0])) {
    c.Fail("'x' ", x, " has ", x[dims + 1], " channels, but kernel ", kernel, " reads ", kernel[0],
           "; kernels are laid out [in, ", SpatialNames(dims), ", out / groups]");
  }
  const Window w = ReadWindow(c, KernelSize(kernel), c.attr<Ints>(ConvAttr::kStrides),
                              c.attr<Ints>(ConvAttr::kPadding), &c.attr<Ints>(ConvAttr::kDilation));
  const Ints& more = c.attr<Ints>(ConvAttr::kOutputPadding);
  bool good = more.size() == static_cast<size_t>(dims);
  for (size_t i = 0; good && i < more.size(); ++i) good = more[i] >= 0 && more[i] < w.stride[i];
  if (!good) {
    c.Fail("output_padding must be ", dims, " integers from 0 up to, but not, the strides (",
           Join(c.attr<Ints>(ConvAttr::kStrides), ", "), "), but is (", Join(more, ", "), ")");
  }
  Shape y = {x[0]};
  for (int i = 0; i < dims; ++i) {
    // As dimensions, whose arithmetic does not overflow silently; what padding takes comes last.
    const Dim whole = (x[i + 1] - Dim(1)) * Dim(w.stride[i]) +
                      Dim(w.size[i] - 1) * Dim(w.dilation[i]) + Dim(1 + more[i]);
    const Dim cut = Dim(w.low[i]) + Dim(w.high[i]);
    if (whole.is_static() && whole.value() <= cut.value()) {
      c.Fail("padding (", Join(c.attr<Ints>(ConvAttr::kPadding), ", "),
             ") takes everything away from the result of image ", x, " and kernel ", kernel,
             "; use less of it");
    }
    y.Append(whole - cut);
  }
  y.Append(kernel[dims + 1] * Dim(groups));
  c.Out(c.dtype(0), y);
}

std::vector<Value> DecomposeTranspose(Builder& b, std::span<const Value> in,
                                      std::span<const Attr> attrs) {
  const OpDef* const kOps[] = {&kConvTranspose1d, &kConvTranspose2d, &kConvTranspose3d};
  std::vector<ValueType> types = {b.type(in[0]), b.type(in[1])}, result;
  InferTypes(*kOps[types[0].shape.rank() - 3], types, attrs, &result);
  return {b(kConvGradInput, in, WithSize(attrs, result[0].shape))};
}

}  // namespace ostria::ops
