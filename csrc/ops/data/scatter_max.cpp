// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scatter.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kScatterMax = {
    .name = "scatter_max",
    .doc =
        "The largest of each element of x and of the `updates` to its slice, picked by `indices` "
        "along an axis.\n"
        "NaN if one is NaN. The gradient is shared between ties.\n"
        "Negative indices count from the end; others outside are an IndexError at run time.\n"
        "indices: int32 or int64.\n"
        "updates: shaped like gather(x, indices, axis).\n"
        "axis: the axis of x that the indices count along.",
    .inputs = kScatterInputs,
    .attrs = kScatterAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false, .checks_data = true},
    .infer = InferScatterNumbers,
    .grad = GradScatterExtremum,
    .flops = ScatterFlops,
};

}  // namespace ostria
