// SPDX-License-Identifier: Apache-2.0
#include "ops/common/reduce.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kArgmin = {
    .name = "argmin",
    .doc =
        "The int64 position of the smallest element along an axis; the first of equals, and of "
        "NaNs if any.\n"
        "axis: one axis, or none for the position in the flattened tensor.\n"
        "keepdims: keep reduced axes with size 1.",
    .inputs = kReduceInputs,
    .attrs = kReduceAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false},
    .infer = InferArg,
    .grad = NoGrad("the result is an integer"),
    .on_empty = OnEmpty::kError,
    .flops = ReduceFlops,
};

}  // namespace ostria
