// SPDX-License-Identifier: Apache-2.0
// What a node of the convolution family comes down to: one convolution y = image * kernel,
// whichever of the three the node computes. All operands dense: image and result [n, h, w, c],
// kernel [o, kh, kw, c / g].
#pragma once

#include <cstdint>

#include "backend/kernel.h"
#include "ops/common/activation.h"

namespace ostria::cpu {

struct ConvDesc {
  DType dtype = DType::kFloat32;
  int64_t n = 0, h = 0, w = 0, c = 0;  // image
  int64_t oh = 0, ow = 0, o = 0;       // result
  int64_t kh = 0, kw = 0, groups = 1;  // kernel
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int64_t top = 0, bottom = 0, left = 0, right = 0;
  bool has_bias = false;
  ops::Activation activation = ops::Activation::kNone;

  int64_t group_in() const { return c / groups; }
  int64_t group_out() const { return o / groups; }
  double flops() const { return 2.0 * static_cast<double>(n) * oh * ow * o * kh * kw * group_in(); }
};

/// For nodes of conv2d, conv2d_fused, conv2d_grad_input and conv2d_grad_filter.
ConvDesc DescribeConv(const NodeDesc& node);

}  // namespace ostria::cpu
