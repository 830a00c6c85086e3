// SPDX-License-Identifier: Apache-2.0
// Averages count real elements only, not padding, as Keras does.
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr AttrDef kAttrs[] = {{"window", AttrType::kInts},
                              {"strides", AttrType::kInts},
                              {"padding", AttrType::kInts, "[0, 0]"}};

}  // namespace

constinit const OpDef ops::kAvgPool1d = {
    .name = "avg_pool1d",
    .doc =
        "The mean of every window of sequences [n, length, c]; padding is not counted.\n"
        "window: length.\n"
        "strides: steps of the window in length.\n"
        "padding: how far windows reach beyond first and last element.",
    .inputs = kPoolInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = InferAvgPool<1>,
    .grad = GradAvgPool,
    .decompose = DecomposeAvgPool,
    .flops = PoolFlops,
};

}  // namespace ostria
