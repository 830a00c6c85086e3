// SPDX-License-Identifier: Apache-2.0
// Averages count real elements only, not padding, as Keras does.
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr AttrDef kAttrs[] = {{"window", AttrType::kInts},
                              {"strides", AttrType::kInts},
                              {"padding", AttrType::kInts, "[0, 0, 0, 0]"}};

}  // namespace

constinit const OpDef ops::kAvgPool2d = {
    .name = "avg_pool2d",
    .doc =
        "The mean of every window of images [n, h, w, c]; padding is not counted.\n"
        "window: height and width.\n"
        "strides: steps of the window in height and width.\n"
        "padding: how far windows reach beyond top, bottom, left and right.",
    .inputs = kPoolInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = InferAvgPool<2>,
    .grad = GradAvgPool,
    .decompose = DecomposeAvgPool,
    .flops = PoolFlops,
};

}  // namespace ostria
