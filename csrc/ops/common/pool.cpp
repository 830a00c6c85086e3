// SPDX-License-Identifier: Apache-2.0
#include "ops/common/pool.h"

#include <limits>

#include "ops/common/build.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria::ops {

using Ints = std::vector<int64_t>;

namespace {

Shape ResultShape(const OpDef& op, const ValueType& image, std::span<const Attr> attrs) {
  std::vector<ValueType> result;
  InferTypes(op, std::span(&image, 1), attrs, &result);
  return result[0].shape;
}

Value WindowSums(Builder& b, const Window& window, Value x, const Shape& y) {
  const Value padded = PadImage(b, window, x, 0);
  Value sum;
  for (int64_t p = 0; p < window.positions(); ++p) {
    const Value seen = TakePosition(b, window, padded, y, p);
    sum = sum.valid() ? b(kAdd, {sum, seen}) : seen;
  }
  return sum;
}

}  // namespace

const OpDef& MaxPoolOp(int dims) {
  return dims == 1 ? kMaxPool1d : dims == 2 ? kMaxPool2d : kMaxPool3d;
}
const OpDef& AvgPoolOp(int dims) {
  return dims == 1 ? kAvgPool1d : dims == 2 ? kAvgPool2d : kAvgPool3d;
}

Window PoolWindow(std::span<const Attr> attrs) {
  return WindowOf(std::get<Ints>(attrs[PoolAttr::kWindow]),
                  std::get<Ints>(attrs[PoolAttr::kStrides]),
                  std::get<Ints>(attrs[PoolAttr::kPadding]), nullptr);
}

Shape InferPool(const InferContext& c, int dims, const Shape& image) {
  if (image.rank() != dims + 2) {
    c.Fail("the image must have rank ", dims + 2, " (batch, ", SpatialNames(dims),
           ", channels), but has shape ", image);
  }
  const Ints& size = c.attr<Ints>(PoolAttr::kWindow);
  bool good = size.size() == static_cast<size_t>(dims);
  for (int64_t n : size) good &= n >= 1;
  if (!good) {
    c.Fail("window must be ", dims, " integers of at least 1, but is (", Join(size, ", "), ")");
  }
  const Window window = ReadWindow(c, size, c.attr<Ints>(PoolAttr::kStrides),
                                   c.attr<Ints>(PoolAttr::kPadding), nullptr);
  for (int i = 0; i < dims; ++i) {
    if (window.low[i] >= size[i] || window.high[i] >= size[i]) {
      c.Fail("padding (", Join(c.attr<Ints>(PoolAttr::kPadding), ", "),
             ") must be smaller than window (", Join(size, ", "),
             "), or a window would see nothing but padding");
    }
  }
  return WindowResult(c, window, image, image[dims + 1]);
}

Shape PooledImage(const Shape& g, std::span<const Attr> attrs) {
  Shape out = {g[0]};
  for (Dim d : std::get<Shape>(attrs[PoolAttr::kSize])) out.Append(d);
  out.Append(g[g.rank() - 1]);
  return out;
}

std::vector<Attr> PoolWithSize(std::span<const Attr> attrs, const Shape& image) {
  std::vector<Attr> out(attrs.begin(), attrs.begin() + PoolAttr::kSize);
  out.push_back(SpatialSizes(image));
  return out;
}

double PoolFlops(std::span<const ValueType>, std::span<const ValueType> outputs,
                 std::span<const Attr> attrs) {
  return static_cast<double>(outputs[0].shape.numel()) *
         static_cast<double>(PoolWindow(attrs).positions());
}

DType PoolIndexType(const Window& window) {
  int64_t left = 256;
  for (int64_t n : window.size) left /= n;  // no product that could overflow
  return left >= 1 ? DType::kUInt8 : DType::kInt32;
}

Value WindowElements(Builder& b, const Window& window, DType dtype, const Shape& image,
                     const Shape& result) {
  Shape one = image;
  one[0] = 1;
  one[one.rank() - 1] = 1;
  return WindowSums(b, window, Full(b, {dtype, one}, 1), result);
}

void InferMaxPool(InferContext& c, int dims) {
  RequireFloat(c, 0);
  const Shape y = InferPool(c, dims, c.shape(0));
  c.Out(c.dtype(0), y);
  c.Out(PoolIndexType(PoolWindow(c.attrs())), y);
}

void GradMaxPool(GradContext& c) {
  Builder& b = c.b;
  const std::vector<Attr> attrs = PoolWithSize(b.graph().attrs(c.node()), b.shape(c.input(0)));
  c.Set(0, b(kMaxPoolGrad, {c.cotangent(), c.output(1)}, attrs));
}

std::vector<Value> DecomposeMaxPool(Builder& b, std::span<const Value> in,
                                    std::span<const Attr> attrs) {
  const ValueType x = b.type(in[0]);
  const OpDef& op = MaxPoolOp(x.shape.rank() - 2);
  if (HasHalf(b, in)) return ViaFloat32(b, op, in, attrs);
  const Window window = PoolWindow(attrs);
  const ValueType index_type = {PoolIndexType(window), ResultShape(op, x, attrs)};
  const Value padded = PadImage(b, window, in[0], -std::numeric_limits<double>::infinity());
  Value best, index;
  for (int64_t p = 0; p < window.positions(); ++p) {
    const Value seen = TakePosition(b, window, padded, index_type.shape, p);
    const Value here = Scalar(b, index_type.dtype, static_cast<double>(p));
    if (!best.valid()) {
      best = seen;
      index = Full(b, index_type, 0);
      continue;
    }
    const Value better = b(kLogicalOr, {b(kGreater, {seen, best}), b(kIsnan, {seen})});
    best = b(kWhere, {better, seen, best});
    index = b(kWhere, {better, here, index});
  }
  return {best, index};
}

void InferAvgPool(InferContext& c, int dims) {
  RequireFloat(c, 0);
  c.Out(c.dtype(0), InferPool(c, dims, c.shape(0)));
}

void GradAvgPool(GradContext& c) {
  Builder& b = c.b;
  const std::vector<Attr> attrs = PoolWithSize(b.graph().attrs(c.node()), b.shape(c.input(0)));
  c.Set(0, b(kAvgPoolGrad, {c.cotangent()}, attrs));
}

std::vector<Value> DecomposeAvgPool(Builder& b, std::span<const Value> in,
                                    std::span<const Attr> attrs) {
  const ValueType x = b.type(in[0]);
  const OpDef& op = AvgPoolOp(x.shape.rank() - 2);
  if (HasHalf(b, in)) return ViaFloat32(b, op, in, attrs);
  const Window window = PoolWindow(attrs);
  const Shape y = ResultShape(op, x, attrs);
  const Value counts = WindowElements(b, window, x.dtype, x.shape, y);
  return {b(kDivide, {WindowSums(b, window, in[0], y), counts})};
}

}  // namespace ostria::ops
