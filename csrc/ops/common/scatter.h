// SPDX-License-Identifier: Apache-2.0
// What the scatter and segment families share: their inputs and shape rules, and the gradient of
// those that choose a value. x is seen as slices along one axis, picked by indices.
#pragma once

#include <span>

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria::ops {

enum ScatterAttribute { kScatterAxis };
inline constexpr InputDef kScatterInputs[] = {{"x"}, {"indices", Arity::kOne, false}, {"updates"}};
inline constexpr AttrDef kScatterAttrs[] = {{"axis", AttrType::kInt, "0"}};

/// One output of x's type; `updates` is shaped like gather(x, indices, axis).
void InferScatter(InferContext& c);
/// The same, for numbers only.
void InferScatterNumbers(InferContext& c);
/// One operation per element of the updates.
double ScatterFlops(std::span<const ValueType> in, std::span<const ValueType>,
                    std::span<const Attr>);
/// scatter_max and scatter_min: shared equally by everything that equals the result.
void GradScatterExtremum(GradContext& c);

enum SegmentAttribute { kNumSegments };
inline constexpr InputDef kSegmentInputs[] = {{"data"}, {"segment_ids", Arity::kOne, false}};
inline constexpr AttrDef kSegmentAttrs[] = {{"num_segments", AttrType::kInt}};

/// [num_segments] + the axes of data that segment_ids, a prefix of its shape, leaves.
void InferSegments(InferContext& c);
/// segment_max and segment_min: shared equally by the elements of a segment that equal the result.
void GradSegmentExtremum(GradContext& c);
/// One operation per element of data.
double SegmentFlops(std::span<const ValueType> in, std::span<const ValueType>,
                    std::span<const Attr>);

}  // namespace ostria::ops
