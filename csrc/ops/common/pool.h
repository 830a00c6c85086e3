// SPDX-License-Identifier: Apache-2.0
// What the pools over one to three spatial axes and their gradients share: shape rule, gradients,
// decompositions.
#pragma once

#include "ir/grad_context.h"
#include "ops/common/attr_index.h"
#include "ops/common/window.h"

namespace ostria::ops {

inline constexpr InputDef kPoolInputs[] = {{"x"}};
inline constexpr OutputDef kMaxPoolOutputs[] = {{"y"}, {"index"}};

/// The pool over `dims` spatial axes.
const OpDef& MaxPoolOp(int dims);
const OpDef& AvgPoolOp(int dims);

Window PoolWindow(std::span<const Attr> attrs);
/// The result's shape for an image; checks everything. Padding must be smaller than the window, so
/// that every window sees at least one element.
Shape InferPool(const InferContext& c, int dims, const Shape& image);
/// The image whose gradient has `g`'s batch and channels (attribute size).
Shape PooledImage(const Shape& g, std::span<const Attr> attrs);
/// The attributes of the pool, with the spatial sizes of `image` appended.
std::vector<Attr> PoolWithSize(std::span<const Attr> attrs, const Shape& image);
/// One operation per element of each window, padding too: comparisons, or additions and a division.
double PoolFlops(std::span<const ValueType> inputs, std::span<const ValueType> outputs,
                 std::span<const Attr> attrs);
/// The dtype of a max pool's index.
DType PoolIndexType(const Window& window);
/// How many elements of an image of this shape and `dtype` every window sees: [1, counts, 1].
Value WindowElements(Builder& b, const Window& window, DType dtype, const Shape& image,
                     const Shape& result);

// --- the rules of the pools ----------------------------------------------------------------------
void InferMaxPool(InferContext& c, int dims);
template <int dims>
void InferMaxPool(InferContext& c) {
  InferMaxPool(c, dims);
}
void GradMaxPool(GradContext& c);
std::vector<Value> DecomposeMaxPool(Builder& b, std::span<const Value> in,
                                    std::span<const Attr> attrs);

void InferAvgPool(InferContext& c, int dims);
template <int dims>
void InferAvgPool(InferContext& c) {
  InferAvgPool(c, dims);
}
void GradAvgPool(GradContext& c);
std::vector<Value> DecomposeAvgPool(Builder& b, std::span<const Value> in,
                                    std::span<const Attr> attrs);

}  // namespace ostria::ops
