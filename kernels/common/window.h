// SPDX-License-Identifier: Apache-2.0
// Windows that slide over dense images [batch, depth, height, width, channels]: what pools and
// convolutions share. Axes that an image lacks have size 1.
#pragma once

#include "kernels/common/kernel.h"
#include "kernels/common/layout.h"

namespace ostria::kernels {

struct WindowShape {
  int64_t batch = 1, channels = 1;  // channels: of the image
  // Depth, height and width of the image, of the result and of the window; `low`: the padding
  // before the image.
  int32_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, size[3] = {1, 1, 1};
  int32_t stride[3] = {1, 1, 1}, low[3] = {}, dilation[3] = {1, 1, 1};
};
OSTRIA_LAYOUT(WindowShape, 88, batch, channels, in, out, size, stride, low, dilation);

#if defined(OSTRIA_KERNEL_CODE)

/// Element `index` of [batch, sizes..., groups], of which there are fewer than 2^32: dividing 64
/// bits costs several times as much.
struct WindowPlace {
  int64_t image;
  int at[3];
  uint32_t group;
};
OSTRIA_DEVICE WindowPlace PlaceOf(int64_t index, const int32_t (&sizes)[3], int64_t groups) {
  WindowPlace p;
  auto left = static_cast<uint32_t>(index);
  const auto next = [&](uint32_t size) {
    const uint32_t rest = left % size;
    left /= size;
    return rest;
  };
  p.group = next(static_cast<uint32_t>(groups));
  for (int i = 2; i >= 0; --i) p.at[i] = static_cast<int>(next(static_cast<uint32_t>(sizes[i])));
  p.image = left;
  return p;
}

/// [begin, end).
struct Range {
  int begin, end;
  OSTRIA_DEVICE int length() const { return end - begin; }
};
/// Of the windows without dilation: what of window `at` of axis `i` lies in the image.
OSTRIA_DEVICE Range InsideOf(const WindowShape& w, int at, int i) {
  const int first = at * w.stride[i] - w.low[i];
  return {max(0, -first), min(w.size[i], w.in[i] - first)};
}
/// The windows that see position `at` of axis `i`.
OSTRIA_DEVICE Range CoveringOf(const WindowShape& w, int at, int i) {
  const int reach = at + w.low[i] - w.size[i];
  return {reach < 0 ? 0 : reach / w.stride[i] + 1,
          min((at + w.low[i]) / w.stride[i] + 1, w.out[i])};
}

/// Of the image [batch, sizes..., channels].
OSTRIA_DEVICE int64_t PixelOf(int64_t image, int d, int h, int w, const int32_t (&sizes)[3]) {
  return ((image * sizes[0] + d) * sizes[1] + h) * sizes[2] + w;
}

#endif

}  // namespace ostria::kernels
