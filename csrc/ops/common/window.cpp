// SPDX-License-Identifier: Apache-2.0
#include "ops/common/window.h"

#include "ops/ops.h"

namespace ostria::ops {
namespace {

using Ints = std::vector<int64_t>;

constexpr std::string_view kSpatialNames[] = {"length", "height, width", "depth, height, width"};
constexpr std::string_view kPaddingNames[] = {"first, last", "top, bottom, left, right",
                                              "front, back, top, bottom, left, right"};

std::string_view NameOf(int dims, int axis) {
  static constexpr std::string_view kNames[] = {"depth", "height", "width"};
  return dims == 1 ? "length" : kNames[kMaxSpatial - dims + axis];
}

void CheckInts(const InferContext& c, std::string_view name, const Ints& values, int count,
               int64_t least) {
  bool good = values.size() == static_cast<size_t>(count);
  for (int64_t v : values) good &= v >= least;
  if (!good) {
    c.Fail(name, " must be ", count, " integers of at least ", least, ", but is (",
           Join(values, ", "), ")");
  }
}

struct Range {
  Ints start, stop, step;
};
Range PositionRange(const Window& w, const Shape& result, int64_t p) {
  Range r{Ints(w.dims + 2, 0), Ints(w.dims + 2, INT64_MAX), Ints(w.dims + 2, 1)};
  const Window::Sizes at = PlaceOf(w, p);
  for (int i = 0; i < w.dims; ++i) {
    r.start[i + 1] = at[i] * w.dilation[i];
    r.step[i + 1] = w.stride[i];
    r.stop[i + 1] = r.start[i + 1] + (result[i + 1].value() - 1) * w.stride[i] + 1;
  }
  return r;
}

}  // namespace

bool Window::padded() const {
  for (int i = 0; i < dims; ++i) {
    if (low[i] + high[i] > 0) return true;
  }
  return false;
}

Window Window::Widened() const {
  Window w;
  w.dims = kMaxSpatial;
  for (int i = 0, to = kMaxSpatial - dims; i < dims; ++i, ++to) {
    w.size[to] = size[i];
    w.stride[to] = stride[i];
    w.low[to] = low[i];
    w.high[to] = high[i];
    w.dilation[to] = dilation[i];
  }
  return w;
}

std::string_view SpatialNames(int dims) { return kSpatialNames[dims - 1]; }

int SpatialDims(const InferContext& c, int input) {
  const int dims = c.shape(input).rank() - 2;
  if (dims < 1 || dims > kMaxSpatial) {
    c.Fail("'", InputName(c, input), "' must have rank 3, 4 or 5 (batch, 1 to 3 spatial axes, ",
           "channels), but has shape ", c.shape(input));
  }
  return dims;
}

void RequireImage(const InferContext& c, int i, int dims) {
  RequireRank(c, i, dims + 2, StrCat("batch, ", SpatialNames(dims), ", channels"));
}

Shape SpatialSizes(const Shape& image) {
  return Shape(image.dims().subspan(1, static_cast<size_t>(image.rank() - 2)));
}

Window WindowOf(std::span<const int64_t> size, const Ints& strides, const Ints& padding,
                const Ints* dilation) {
  Window w;
  w.dims = static_cast<int>(size.size());
  for (int i = 0; i < w.dims; ++i) {
    w.size[i] = size[i];
    w.stride[i] = strides[i];
    w.low[i] = padding[2 * i];
    w.high[i] = padding[2 * i + 1];
    if (dilation != nullptr) w.dilation[i] = (*dilation)[i];
  }
  return w;
}

Window ReadWindow(const InferContext& c, std::span<const int64_t> size, const Ints& strides,
                  const Ints& padding, const Ints* dilation) {
  const int dims = static_cast<int>(size.size());
  CheckInts(c, "strides", strides, dims, 1);
  CheckInts(c, StrCat("padding (", kPaddingNames[dims - 1], ")"), padding, 2 * dims, 0);
  if (dilation != nullptr) CheckInts(c, "dilation", *dilation, dims, 1);
  return WindowOf(size, strides, padding, dilation);
}

Shape WindowResult(const InferContext& c, const Window& w, const Shape& image, Dim channels) {
  Shape out = {image[0]};
  for (int i = 0; i < w.dims; ++i) {
    const Dim size = image[i + 1];
    // As dimensions, whose arithmetic does not overflow silently.
    const Dim span = Dim(w.dilation[i]) * Dim(w.size[i]) - Dim(w.dilation[i] - 1);
    const Dim padded = size + Dim(w.low[i]) + Dim(w.high[i]);
    if (padded.is_static() && padded.value() < span.value()) {
      const std::string_view name = NameOf(w.dims, i);
      c.Fail("a window of ", name, " ", span,
             w.dilation[i] > 1 ? StrCat(" (", w.size[i], " dilated by ", w.dilation[i], ")") : "",
             " does not fit into ", name, " ", size, " of input ", image, " padded by ", w.low[i],
             " and ", w.high[i], "; use a smaller window or padding \"same\"");
    }
    out.Append(FloorDiv(padded - span, w.stride[i]) + Dim(1));
  }
  out.Append(channels);
  return out;
}

Shape PaddedShape(const Window& w, const Shape& image) {
  Shape out = image;
  for (int i = 0; i < w.dims; ++i) out[i + 1] = image[i + 1] + Dim(w.low[i]) + Dim(w.high[i]);
  return out;
}

Value PadImage(Builder& b, const Window& w, Value x, double value) {
  if (!w.padded()) return x;
  Ints low(w.dims + 2), high(w.dims + 2);
  std::copy_n(w.low.begin(), w.dims, low.begin() + 1);
  std::copy_n(w.high.begin(), w.dims, high.begin() + 1);
  return b(kPad, {x}, {low, high, value});
}

Value CropImage(Builder& b, const Window& w, Value padded, const Shape& size) {
  if (!w.padded()) return padded;
  Ints start(w.dims + 2), stop(w.dims + 2, INT64_MAX);
  for (int i = 0; i < w.dims; ++i) {
    start[i + 1] = w.low[i];
    stop[i + 1] = w.low[i] + size[i + 1].value();
  }
  return b(kSlice, {padded}, {start, stop});
}

Window::Sizes PlaceOf(const Window& w, int64_t p) {
  Window::Sizes at{};
  for (int i = w.dims - 1; i >= 0; --i) {
    at[i] = p % w.size[i];
    p /= w.size[i];
  }
  return at;
}

Value TakePosition(Builder& b, const Window& w, Value padded, const Shape& result, int64_t p) {
  const Range r = PositionRange(w, result, p);
  return b(kSlice, {padded}, {r.start, r.stop, r.step});
}

Value PlacePosition(Builder& b, const Window& w, Value v, const Shape& padded, int64_t p) {
  const Range r = PositionRange(w, b.shape(v), p);
  return b(kSliceGrad, {v}, {padded, r.start, r.stop, r.step});
}

}  // namespace ostria::ops
