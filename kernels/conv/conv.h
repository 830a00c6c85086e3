// SPDX-License-Identifier: Apache-2.0
// Convolutions of our own over [batch, depth, height, width, channels] with kernels [out,
// positions, in / groups]; every operand has fewer than 2^32 elements.
#pragma once

#include "kernels/common/layout.h"
#include "kernels/common/window.h"

namespace ostria::kernels {

/// Any convolution. Forward: a is the image, b the kernel; the image's gradient: the gradient of
/// the result and the kernel; the kernel's gradient: the image and the gradient of the result.
struct DirectParams {
  const void* a = nullptr;
  const void* b = nullptr;
  void* dst = nullptr;
  WindowShape window;
  int64_t out_channels = 1, groups = 1;
};
OSTRIA_LAYOUT(DirectParams, 128, a, b, dst, window, out_channels, groups);
inline constexpr int kDirectThreads = 256;

/// Convolutions whose every channel is a group of its own, which has `multiplier` results.
struct DepthwiseParams {
  const void* src = nullptr;     // the image; for its gradient, the gradient of the result
  const void* kernel = nullptr;  // [channels * multiplier, positions]
  const void* bias = nullptr;    // null, or one per channel of the result
  const void* addend = nullptr;  // null, or like the result
  const void* grad = nullptr;    // of the result, for the kernel's gradient
  void* dst = nullptr;
  float* partials = nullptr;  // [slices, channels * multiplier, positions]
  WindowShape window;
  int32_t multiplier = 1, activation = 0;
  int32_t tile = 1;  // channels, of what is made, that a block takes
  int32_t slices = 1;
};
OSTRIA_LAYOUT(DepthwiseParams, 160, src, kernel, bias, addend, grad, dst, partials, window,
              multiplier, activation, tile, slices);
inline constexpr int kDepthwiseThreads = 256;

}  // namespace ostria::kernels
