// SPDX-License-Identifier: Apache-2.0
#include "ops/common/window.h"

#include "ops/ops.h"

namespace ostria::ops {
namespace {

using Ints = std::vector<int64_t>;

void CheckInts(const InferContext& c, std::string_view name, const Ints& values, size_t count,
               int64_t least) {
  bool good = values.size() == count;
  for (int64_t v : values) good &= v >= least;
  if (!good) {
    c.Fail(name, " must be ", count, " integers of at least ", least, ", but is (",
           Join(values, ", "), ")");
  }
}

struct Range {
  Ints start, stop, step;
};
Range PositionRange(const Window& w, std::array<Dim, 2> counts, int64_t row, int64_t column) {
  Range r{{0, row * w.dilation[0], column * w.dilation[1], 0},
          {INT64_MAX, 0, 0, INT64_MAX},
          {1, w.stride[0], w.stride[1], 1}};
  for (int i = 0; i < 2; ++i) {
    r.stop[i + 1] = r.start[i + 1] + (counts[i].value() - 1) * w.stride[i] + 1;
  }
  return r;
}

}  // namespace

Window WindowOf(std::array<int64_t, 2> size, const Ints& strides, const Ints& padding,
                const Ints* dilation) {
  Window w;
  w.size = size;
  w.stride = {strides[0], strides[1]};
  w.low = {padding[0], padding[2]};
  w.high = {padding[1], padding[3]};
  if (dilation != nullptr) w.dilation = {(*dilation)[0], (*dilation)[1]};
  return w;
}

Window ReadWindow(const InferContext& c, std::array<int64_t, 2> size, const Ints& strides,
                  const Ints& padding, const Ints* dilation) {
  CheckInts(c, "strides", strides, 2, 1);
  CheckInts(c, "padding (top, bottom, left, right)", padding, 4, 0);
  if (dilation != nullptr) CheckInts(c, "dilation", *dilation, 2, 1);
  return WindowOf(size, strides, padding, dilation);
}

std::array<Dim, 2> WindowCounts(const InferContext& c, const Window& w, const Shape& image) {
  static constexpr std::string_view kNames[] = {"height", "width"};
  std::array<Dim, 2> out;
  for (int i = 0; i < 2; ++i) {
    const Dim size = image[i + 1];
    // As dimensions, whose arithmetic does not overflow silently.
    const Dim span = Dim(w.dilation[i]) * Dim(w.size[i]) - Dim(w.dilation[i] - 1);
    const Dim padded = size + Dim(w.low[i]) + Dim(w.high[i]);
    if (padded.is_static() && padded.value() < span.value()) {
      c.Fail("a window of ", kNames[i], " ", span,
             w.dilation[i] > 1 ? StrCat(" (", w.size[i], " dilated by ", w.dilation[i], ")") : "",
             " does not fit into ", kNames[i], " ", size, " of input ", image, " padded by ",
             w.low[i], " and ", w.high[i], "; use a smaller window or padding \"same\"");
    }
    out[i] = FloorDiv(padded - span, w.stride[i]) + Dim(1);
  }
  return out;
}

Value PadImage(Builder& b, const Window& w, Value x, double value) {
  if (w.low[0] + w.low[1] + w.high[0] + w.high[1] == 0) return x;
  return b(kPad, {x}, {Ints{0, w.low[0], w.low[1], 0}, Ints{0, w.high[0], w.high[1], 0}, value});
}

Value CropImage(Builder& b, const Window& w, Value padded, const Shape& size) {
  if (w.low[0] + w.low[1] + w.high[0] + w.high[1] == 0) return padded;
  return b(kSlice, {padded},
           {Ints{0, w.low[0], w.low[1], 0},
            Ints{INT64_MAX, w.low[0] + size[1].value(), w.low[1] + size[2].value(), INT64_MAX}});
}

Value TakePosition(Builder& b, const Window& w, Value padded, std::array<Dim, 2> counts,
                   int64_t row, int64_t column) {
  const Range r = PositionRange(w, counts, row, column);
  return b(kSlice, {padded}, {r.start, r.stop, r.step});
}

Value PlacePosition(Builder& b, const Window& w, Value v, const Shape& padded, int64_t row,
                    int64_t column) {
  const Shape shape = b.shape(v);
  const Range r = PositionRange(w, {shape[1], shape[2]}, row, column);
  return b(kSliceGrad, {v}, {padded, r.start, r.stop, r.step});
}

}  // namespace ostria::ops
