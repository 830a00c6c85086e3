// SPDX-License-Identifier: Apache-2.0
// Windows that slide over height and width of images [n, h, w, c]: what convolutions and pools
// share. Shape rule with its messages, and the pieces that their decompositions are made of.
#pragma once

#include <array>
#include <string_view>

#include "ir/builder.h"
#include "ops/common/infer.h"

namespace ostria::ops {

struct Window {
  std::array<int64_t, 2> size{}, stride{1, 1}, low{}, high{}, dilation{1, 1};  // height, width
};

/// Reads strides, padding (top, bottom, left, right) and, when given, dilation; checks their
/// lengths and signs. `size` is the window's height and width.
Window ReadWindow(const InferContext& c, std::array<int64_t, 2> size,
                  const std::vector<int64_t>& strides, const std::vector<int64_t>& padding,
                  const std::vector<int64_t>* dilation);
/// The same without checks, for rules that run after infer.
Window WindowOf(std::array<int64_t, 2> size, const std::vector<int64_t>& strides,
                const std::vector<int64_t>& padding, const std::vector<int64_t>* dilation);
/// How often the window fits into height and width of `image`; fails when it does not fit once.
std::array<Dim, 2> WindowCounts(const InferContext& c, const Window& window, const Shape& image);

/// `x` with the window's padding around it.
Value PadImage(Builder& b, const Window& window, Value x, double value);
/// Undoes PadImage; `size` is the shape without padding.
Value CropImage(Builder& b, const Window& window, Value padded, const Shape& size);
/// What position (row, column) of the window sees of `padded`: [n, counts, c].
Value TakePosition(Builder& b, const Window& window, Value padded, std::array<Dim, 2> counts,
                   int64_t row, int64_t column);
/// The adjoint: zeros of shape `padded` with `v` where the position would look.
Value PlacePosition(Builder& b, const Window& window, Value v, const Shape& padded, int64_t row,
                    int64_t column);

}  // namespace ostria::ops
