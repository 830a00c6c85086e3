// SPDX-License-Identifier: Apache-2.0
// What the convolutions over one to three spatial axes and their gradients share. Images are
// [n, ..., c], kernels [out, ..., in / groups]; conv1d to conv3d, conv_grad_input and
// conv_grad_filter are each other's adjoints, so higher derivatives need no more.
#pragma once

#include "ir/grad_context.h"
#include "ops/common/attr_index.h"
#include "ops/common/window.h"

namespace ostria::ops {

inline constexpr InputDef kConvInputs[] = {{"x"}, {"kernel"}};

/// conv1d, conv2d or conv3d.
const OpDef& ConvOp(int dims);

/// The result's shape for an image and a kernel with `dims` spatial axes; checks everything.
Shape InferConv(const InferContext& c, int dims, const Shape& image, const Shape& kernel);
Window ConvWindow(std::span<const Attr> attrs, const Shape& kernel);
/// The first four attributes, with the spatial sizes of `image` (an image or a kernel) appended.
std::vector<Attr> WithSize(std::span<const Attr> attrs, const Shape& image);
std::vector<Attr> WithoutSize(std::span<const Attr> attrs);
/// [first, size, last] with the size among the attributes.
Shape AroundSize(Dim first, std::span<const Attr> attrs, Dim last);

/// [n, ..., c] as [n * ..., c], or [groups, n * ..., c / groups] when groups > 1.
Value RowsOfImage(Builder& b, Value image, int64_t groups);
/// The inverse of RowsOfImage.
Value ImageOfRows(Builder& b, Value rows, int64_t groups, const Shape& image);

/// Element p of every kernel: [out, in], or [groups, out / groups, in / groups] when groups > 1.
Value KernelPosition(Builder& b, const Window& window, Value kernel, int64_t groups, int64_t p);

/// Two for every multiply-add of the convolution whose result and kernel have these shapes.
double ConvFlops(const Shape& result, const Shape& kernel);

// --- the rules of conv1d, conv2d and conv3d ------------------------------------------------------
void InferForward(InferContext& c, int dims);
template <int dims>
void InferForward(InferContext& c) {
  InferForward(c, dims);
}
void GradForward(GradContext& c);
std::vector<Value> DecomposeForward(Builder& b, std::span<const Value> in,
                                    std::span<const Attr> attrs);
double FlopsForward(std::span<const ValueType> in, std::span<const ValueType> out,
                    std::span<const Attr> attrs);

// --- the rules of conv_transpose1d, conv_transpose2d and conv_transpose3d ------------------------
void InferTranspose(InferContext& c, int dims);
template <int dims>
void InferTranspose(InferContext& c) {
  InferTranspose(c, dims);
}
std::vector<Value> DecomposeTranspose(Builder& b, std::span<const Value> in,
                                      std::span<const Attr> attrs);

}  // namespace ostria::ops
