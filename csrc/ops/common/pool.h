// SPDX-License-Identifier: Apache-2.0
// What the pools and their gradients share: attributes, shape rule, walking over window positions.
#pragma once

#include "ops/common/attr_index.h"
#include "ops/common/window.h"

namespace ostria::ops {

inline constexpr AttrDef kPoolWindow = {"window", AttrType::kInts};
inline constexpr AttrDef kPoolStrides = {"strides", AttrType::kInts};
inline constexpr AttrDef kPoolPadding = {"padding", AttrType::kInts, "[0, 0, 0, 0]"};

Window PoolWindow(std::span<const Attr> attrs);
/// The result's shape for an image; checks everything. Padding must be smaller than the window, so
/// that every window sees at least one element.
Shape InferPool(const InferContext& c, const Shape& image);
/// [n, h, w, c] of the image whose gradient has `g`'s batch and channels (attribute size).
Shape PooledImage(const Shape& g, std::span<const Attr> attrs);
/// `image` with the window's padding.
Shape PaddedShape(const Window& window, const Shape& image);
/// The attributes of the pool, with `size` appended.
std::vector<Attr> PoolWithSize(std::span<const Attr> attrs, const Shape& image);
/// One operation per element of each window, padding too: comparisons, or additions and a division.
double PoolFlops(std::span<const ValueType> inputs, std::span<const ValueType> outputs,
                 std::span<const Attr> attrs);
/// The dtype of max_pool2d's index.
DType PoolIndexType(const Window& window);

}  // namespace ostria::ops
