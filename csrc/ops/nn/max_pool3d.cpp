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
                              {"padding", AttrType::kInts, "[0, 0, 0, 0, 0, 0]"}};

}  // namespace

constinit const OpDef ops::kMaxPool3d = {
    .name = "max_pool3d",
    .doc =
        "The largest element of every window of volumes [n, d, h, w, c], and its position in\n"
        "the window.\n"
        "window: depth, height and width.\n"
        "strides: steps of the window in depth, height and width.\n"
        "padding: how far windows reach beyond front, back, top, bottom, left and right; what lies "
        "there\n"
        "never wins.",
    .inputs = kPoolInputs,
    .attrs = kAttrs,
    .outputs = kMaxPoolOutputs,
    .traits = {.smooth = false},
    .infer = InferMaxPool<3>,
    .grad = GradMaxPool,
    .decompose = DecomposeMaxPool,
    .flops = PoolFlops,
};

}  // namespace ostria
