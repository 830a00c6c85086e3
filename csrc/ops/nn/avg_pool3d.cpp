// SPDX-License-Identifier: Apache-2.0
// Averages count real elements only, not padding, as Keras does.
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr AttrDef kAttrs[] = {{"window", AttrType::kInts},
                              {"strides", AttrType::kInts},
                              {"padding", AttrType::kInts, "[0, 0, 0, 0, 0, 0]"}};

}  // namespace

constinit const OpDef ops::kAvgPool3d = {
    .name = "avg_pool3d",
    .doc =
        "The mean of every window of volumes [n, d, h, w, c]; padding is not counted.\n"
        "window: depth, height and width.\n"
        "strides: steps of the window in depth, height and width.\n"
        "padding: how far windows reach beyond front, back, top, bottom, left and right.",
    .inputs = kPoolInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = InferAvgPool<3>,
    .grad = GradAvgPool,
    .decompose = DecomposeAvgPool,
    .flops = PoolFlops,
};

}  // namespace ostria
