// SPDX-License-Identifier: Apache-2.0
#include "ops/common/conv.h"

#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria::ops {

using Ints = std::vector<int64_t>;

std::array<int64_t, 2> KernelSize(const Shape& kernel) {
  return {kernel[1].value(), kernel[2].value()};
}

Shape InferConv(const InferContext& c, const Shape& image, const Shape& kernel) {
  if (image.rank() != 4) {
    c.Fail("the image must have rank 4 (batch, height, width, channels), but has shape ", image);
  }
  if (kernel.rank() != 4) {
    c.Fail("the kernel must have rank 4 (out, height, width, in / groups), but has shape ", kernel);
  }
  if (!kernel.is_static()) c.Fail("the kernel's shape must be fixed, but is ", kernel);
  const int64_t groups = c.attr<int64_t>(ConvAttr::kGroups);
  if (groups < 1 || kernel[0].value() % groups != 0) {
    c.Fail("groups is ", groups, "; it must be positive and divide the ", kernel[0],
           " output channels of kernel ", kernel);
  }
  if (!(image[3] == kernel[3] * Dim(groups))) {
    c.Fail("image ", image, " has ", image[3], " channels, but kernel ", kernel,
           " with groups=", groups, " reads ", kernel[3] * Dim(groups),
           "; kernels are laid out [out, height, width, in / groups]");
  }
  const Window window =
      ReadWindow(c, KernelSize(kernel), c.attr<Ints>(ConvAttr::kStrides),
                 c.attr<Ints>(ConvAttr::kPadding), &c.attr<Ints>(ConvAttr::kDilation));
  const auto counts = WindowCounts(c, window, image);
  return {image[0], counts[0], counts[1], kernel[0]};
}

Window ConvWindow(std::span<const Attr> attrs, std::array<int64_t, 2> size) {
  return WindowOf(size, std::get<Ints>(attrs[ConvAttr::kStrides]),
                  std::get<Ints>(attrs[ConvAttr::kPadding]),
                  &std::get<Ints>(attrs[ConvAttr::kDilation]));
}

std::vector<Attr> WithSize(std::span<const Attr> attrs, Dim height, Dim width) {
  std::vector<Attr> out = WithoutSize(attrs);
  out.push_back(Shape{height, width});
  return out;
}

std::vector<Attr> WithoutSize(std::span<const Attr> attrs) {
  return {attrs.begin(), attrs.begin() + ConvAttr::kSize};
}

Value RowsOfImage(Builder& b, Value image, int64_t groups) {
  const Shape s = b.shape(image);
  const Dim rows = s[0] * s[1] * s[2];
  if (groups == 1) return Reshape(b, image, {rows, s[3]});
  const Value split = Reshape(b, image, {rows, groups, FloorDiv(s[3], groups)});
  return b(kTranspose, {split}, {Ints{1, 0, 2}});
}

Value ImageOfRows(Builder& b, Value rows, int64_t groups, const Shape& image) {
  if (groups > 1) rows = b(kTranspose, {rows}, {Ints{1, 0, 2}});
  return Reshape(b, rows, image);
}

Value KernelPosition(Builder& b, Value kernel, int64_t groups, int64_t i, int64_t j) {
  const Shape s = b.shape(kernel);
  const Value at =
      b(kSlice, {kernel}, {Ints{0, i, j, 0}, Ints{INT64_MAX, i + 1, j + 1, INT64_MAX}});
  if (groups == 1) return Reshape(b, at, {s[0], s[3]});
  return Reshape(b, at, {groups, FloorDiv(s[0], groups), s[3]});
}

double ConvFlops(const Shape& result, const Shape& kernel) {
  return 2.0 * static_cast<double>(result.numel()) * kernel[1].value() * kernel[2].value() *
         kernel[3].value();
}

}  // namespace ostria::ops
