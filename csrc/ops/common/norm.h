// SPDX-License-Identifier: Apache-2.0
// What the normalisations share: channels are the last axis (batch_norm) or the last k
// (layer_norm).
#pragma once

#include <utility>
#include <vector>

#include "ir/builder.h"
#include "ops/common/infer.h"

namespace ostria::ops {

/// [channels] of input `i`, which must have rank 2 or more.
Shape InferChannels(const InferContext& c, int i);
/// Input `i` must have shape `channels` and input 0's dtype.
void RequireChannels(const InferContext& c, int i, const Shape& channels);
/// Attribute `attr` must be a number of at least 0.
void RequireEpsilon(const InferContext& c, int attr);

/// All axes but the last, and their sizes.
std::pair<std::vector<int64_t>, Shape> LeadingAxes(const Builder& b, Value x);
/// The first `count` or the last `count` sizes.
Shape FirstDims(const Shape& shape, int count);
Shape LastDims(const Shape& shape, int count);
/// `from`, `from` + 1, … `to` - 1.
std::vector<int64_t> AxisRange(int from, int to);

}  // namespace ostria::ops
