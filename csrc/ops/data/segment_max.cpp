// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scatter.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kSegmentMax = {
    .name = "segment_max",
    .doc =
        "The largest element of each segment, of the slices of data that have its id; NaN if one "
        "is "
        "NaN.\n"
        "Of a segment without any it is -inf, for integers the smallest one. The gradient is "
        "shared between ties.\n"
        "segment_ids: int32 or int64, in any order, shaped like the first axes of data; one "
        "outside "
        "of 0..num_segments-1 is an IndexError at run time.\n"
        "num_segments: how many segments there are.",
    .inputs = kSegmentInputs,
    .attrs = kSegmentAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false, .checks_data = true},
    .infer = InferSegments,
    .grad = GradSegmentExtremum,
    .flops = SegmentFlops,
};

}  // namespace ostria
