// SPDX-License-Identifier: Apache-2.0
#include "ops/common/pool.h"

#include "ops/ops.h"

namespace ostria::ops {

using Ints = std::vector<int64_t>;

Window PoolWindow(std::span<const Attr> attrs) {
  const Ints& size = std::get<Ints>(attrs[PoolAttr::kWindow]);
  return WindowOf({size[0], size[1]}, std::get<Ints>(attrs[PoolAttr::kStrides]),
                  std::get<Ints>(attrs[PoolAttr::kPadding]), nullptr);
}

Shape InferPool(const InferContext& c, const Shape& image) {
  if (image.rank() != 4) {
    c.Fail("the image must have rank 4 (batch, height, width, channels), but has shape ", image);
  }
  const Ints& size = c.attr<Ints>(PoolAttr::kWindow);
  if (size.size() != 2 || size[0] < 1 || size[1] < 1) {
    c.Fail("window must be 2 integers of at least 1, but is (", Join(size, ", "), ")");
  }
  const Window window = ReadWindow(c, {size[0], size[1]}, c.attr<Ints>(PoolAttr::kStrides),
                                   c.attr<Ints>(PoolAttr::kPadding), nullptr);
  for (int i = 0; i < 2; ++i) {
    if (window.low[i] >= size[i] || window.high[i] >= size[i]) {
      c.Fail("padding (", Join(c.attr<Ints>(PoolAttr::kPadding), ", "),
             ") must be smaller than window (", Join(size, ", "),
             "), or a window would see nothing but padding");
    }
  }
  const auto counts = WindowCounts(c, window, image);
  return {image[0], counts[0], counts[1], image[3]};
}

Shape PooledImage(const Shape& g, std::span<const Attr> attrs) {
  const Shape& size = std::get<Shape>(attrs[PoolAttr::kSize]);
  return {g[0], size[0], size[1], g[3]};
}

Shape PaddedShape(const Window& window, const Shape& image) {
  Shape out = image;
  for (int i = 0; i < 2; ++i) out[i + 1] = image[i + 1] + Dim(window.low[i]) + Dim(window.high[i]);
  return out;
}

std::vector<Attr> PoolWithSize(std::span<const Attr> attrs, const Shape& image) {
  std::vector<Attr> out(attrs.begin(), attrs.begin() + PoolAttr::kSize);
  out.push_back(Shape{image[1], image[2]});
  return out;
}

double PoolFlops(std::span<const ValueType>, std::span<const ValueType> outputs,
                 std::span<const Attr> attrs) {
  const Window window = PoolWindow(attrs);
  return static_cast<double>(outputs[0].shape.numel()) * window.size[0] * window.size[1];
}

DType PoolIndexType(const Window& window) {
  return window.size[0] <= 256 / window.size[1] ? DType::kUInt8 : DType::kInt32;
}

}  // namespace ostria::ops
