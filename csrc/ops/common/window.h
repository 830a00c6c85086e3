// SPDX-License-Identifier: Apache-2.0
// Windows that slide over the one to three spatial axes of images [n, ..., c]: what convolutions
// and pools share. Shape rule with its messages, and the pieces that their decompositions are made
// of. Positions of a window are counted along its last axis first.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "ir/builder.h"
#include "ops/common/infer.h"

namespace ostria::ops {

inline constexpr int kMaxSpatial = 3;

/// Per spatial axis; entries beyond `dims` are those of a window of size 1.
struct Window {
  using Sizes = std::array<int64_t, kMaxSpatial>;
  int dims = 2;
  Sizes size{1, 1, 1}, stride{1, 1, 1}, low{}, high{}, dilation{1, 1, 1};

  int64_t positions() const { return size[0] * size[1] * size[2]; }
  bool padded() const;
  /// The same window over three axes: those in front have size 1.
  Window Widened() const;
};

/// "height, width" and the like, in the order of the axes.
std::string_view SpatialNames(int dims);
/// The spatial axes of an image of 1 to 3 of them; fails for other ranks.
int SpatialDims(const InferContext& c, int input);
/// Input `i` must be an image with `dims` spatial axes.
void RequireImage(const InferContext& c, int i, int dims);
/// The sizes of the spatial axes.
Shape SpatialSizes(const Shape& image);

/// Reads strides, padding (first and last of every axis) and, when given, dilation; checks their
/// lengths and signs.
Window ReadWindow(const InferContext& c, std::span<const int64_t> size,
                  const std::vector<int64_t>& strides, const std::vector<int64_t>& padding,
                  const std::vector<int64_t>* dilation);
/// The same without checks, for rules that run after infer.
Window WindowOf(std::span<const int64_t> size, const std::vector<int64_t>& strides,
                const std::vector<int64_t>& padding, const std::vector<int64_t>* dilation);
/// [n, counts, channels]: how often the window fits into `image`; fails when it does not fit once.
Shape WindowResult(const InferContext& c, const Window& window, const Shape& image, Dim channels);

/// `image` with the window's padding.
Shape PaddedShape(const Window& window, const Shape& image);
/// `x` with the window's padding around it.
Value PadImage(Builder& b, const Window& window, Value x, double value);
/// Undoes PadImage; `size` is the shape without padding.
Value CropImage(Builder& b, const Window& window, Value padded, const Shape& size);
/// Where position p lies in the window.
Window::Sizes PlaceOf(const Window& window, int64_t p);
/// What position p of the window sees of `padded`: [n, counts of `result`, c].
Value TakePosition(Builder& b, const Window& window, Value padded, const Shape& result, int64_t p);
/// The adjoint: zeros of shape `padded` with `v` where the position would look.
Value PlacePosition(Builder& b, const Window& window, Value v, const Shape& padded, int64_t p);

}  // namespace ostria::ops
