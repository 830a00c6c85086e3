// SPDX-License-Identifier: Apache-2.0
// The index output is what the gradient needs: where in its window each maximum lay. First of
// equals.
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr AttrDef kAttrs[] = {{"window", AttrType::kInts},
                              {"strides", AttrType::kInts},
                              {"padding", AttrType::kInts, "[0, 0, 0, 0]"}};

}  // namespace

constinit const OpDef ops::kMaxPool2d = {
    .name = "max_pool2d",
    .doc =
        "The largest element of every window of images [n, h, w, c], and its position in\n"
        "the window.\n"
        "window: height and width.\n"
        "strides: steps of the window in height and width.\n"
        "padding: how far windows reach beyond top, bottom, left and right; what lies there\n"
        "never wins.",
    .inputs = kPoolInputs,
    .attrs = kAttrs,
    .outputs = kMaxPoolOutputs,
    .traits = {.smooth = false},
    .infer = InferMaxPool<2>,
    .grad = GradMaxPool,
    .decompose = DecomposeMaxPool,
    .flops = PoolFlops,
};

}  // namespace ostria
