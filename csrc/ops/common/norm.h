// SPDX-License-Identifier: Apache-2.0
// What the normalisations share: channels are the last axis (batch_norm, group_norm) or the last k
// (layer_norm, rms_norm).
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
/// Inputs from `first` on must have shape `channels` and one dtype: input 0's, or float32 where
/// that has 16 bits.
void RequireParameters(const InferContext& c, int first, const Shape& channels);
/// Attribute `attr` must be a number of at least 0.
void RequireEpsilon(const InferContext& c, int attr);

/// How many last axes make a row of `x`: must be 1..rank.
int RequireRowAxes(const InferContext& c, int64_t axes, const Shape& x);
/// `groups` must divide the channels of `x`, which must be fixed.
void RequireGroups(const InferContext& c, int64_t groups, const Shape& x);
/// x [n, ..., c] as [n, ..., groups, c / groups] with one axis in place of those between.
Shape GroupsOf(const Shape& x, int64_t groups);

/// All axes but the last, and their sizes.
std::pair<std::vector<int64_t>, Shape> LeadingAxes(const Builder& b, Value x);
/// The first `count` or the last `count` sizes.
Shape FirstDims(const Shape& shape, int count);
Shape LastDims(const Shape& shape, int count);
/// `from`, `from` + 1, … `to` - 1.
std::vector<int64_t> AxisRange(int from, int to);

}  // namespace ostria::ops
