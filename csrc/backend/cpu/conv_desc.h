// SPDX-License-Identifier: Apache-2.0
// What a node of the convolution family comes down to: one convolution y = image * kernel,
// whichever of the three the node computes. All operands dense: image and result [n, ..., c],
// kernel [o, ..., c / g], with one to three axes between.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "backend/kernel.h"
#include "ops/common/activation.h"
#include "ops/common/window.h"

namespace ostria::cpu {

struct ConvDesc {
  using Sizes = ops::Window::Sizes;  // depth, height, width: axes that are missing have size 1
  DType dtype = DType::kFloat32;
  int dims = 2;  // spatial axes that the library is told about
  int64_t n = 0, c = 0, o = 0, groups = 1;
  Sizes image{1, 1, 1}, result{1, 1, 1};
  ops::Window window;  // over three axes
  bool has_bias = false, has_addend = false;
  ops::Activation activation = ops::Activation::kNone;

  int64_t group_in() const { return c / groups; }
  int64_t group_out() const { return o / groups; }
  /// The sizes of those axes.
  std::span<const int64_t> Own(const Sizes& sizes) const {
    return std::span(sizes).last(static_cast<size_t>(dims));
  }
  double flops() const {
    const double products = 2.0 * static_cast<double>(n) * static_cast<double>(o * group_in());
    return products * static_cast<double>(result[0] * result[1] * result[2]) *
           static_cast<double>(window.positions());
  }
};

/// For nodes of conv1d to conv3d, conv_fused, conv_grad_input and conv_grad_filter.
ConvDesc DescribeConv(const NodeDesc& node);

/// What our own loops over images need, `lanes` elements in a vector: dense float32, one group.
Support SupportsOwnConv(const NodeDesc& node, const ConvDesc& d, int64_t lanes);

/// Height and width of what has depth, height and width.
inline void CopyPlane(const ConvDesc::Sizes& from, int64_t* to) { std::copy_n(&from[1], 2, to); }

}  // namespace ostria::cpu
