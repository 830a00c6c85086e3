// SPDX-License-Identifier: Apache-2.0
// What conv2d, conv2d_fused and its two gradients share. Images are [n, h, w, c], kernels
// [out, kh, kw, in / groups]; the three are each other's adjoints, so higher derivatives need no
// more.
#pragma once

#include "ops/common/attr_index.h"
#include "ops/common/window.h"

namespace ostria::ops {

/// AttrDefs of the four that all have; each op appends its own fifth.
inline constexpr AttrDef kConvStrides = {"strides", AttrType::kInts, "[1, 1]"};
inline constexpr AttrDef kConvPadding = {"padding", AttrType::kInts, "[0, 0, 0, 0]"};
inline constexpr AttrDef kConvDilation = {"dilation", AttrType::kInts, "[1, 1]"};
inline constexpr AttrDef kConvGroups = {"groups", AttrType::kInt, "1"};

/// The result's shape for an image and a kernel; checks everything.
Shape InferConv(const InferContext& c, const Shape& image, const Shape& kernel);
Window ConvWindow(std::span<const Attr> attrs, std::array<int64_t, 2> size);
/// Kernel height and width.
std::array<int64_t, 2> KernelSize(const Shape& kernel);
/// The first four attributes, with `size` appended.
std::vector<Attr> WithSize(std::span<const Attr> attrs, Dim height, Dim width);
std::vector<Attr> WithoutSize(std::span<const Attr> attrs);

/// [n, h, w, c] as [n * h * w, c], or [groups, n * h * w, c / groups] when groups > 1.
Value RowsOfImage(Builder& b, Value image, int64_t groups);
/// The inverse of RowsOfImage.
Value ImageOfRows(Builder& b, Value rows, int64_t groups, const Shape& image);

/// Element (i, j) of every kernel: [out, in], or [groups, out / groups, in / groups] when groups
/// > 1.
Value KernelPosition(Builder& b, Value kernel, int64_t groups, int64_t i, int64_t j);

/// Two for every multiply-add of the convolution whose result and kernel have these shapes.
double ConvFlops(const Shape& result, const Shape& kernel);

}  // namespace ostria::ops
