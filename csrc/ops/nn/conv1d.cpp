// SPDX-License-Identifier: Apache-2.0
#include "ops/common/conv.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts, "[1]"},
                              {"padding", AttrType::kInts, "[0, 0]"},
                              {"dilation", AttrType::kInts, "[1]"},
                              {"groups", AttrType::kInt, "1"}};

}  // namespace

constinit const OpDef ops::kConv1d = {
    .name = "conv1d",
    .doc =
        "One-dimensional convolution (cross-correlation) of sequences x [n, length, in] with\n"
        "kernel [out, length, in / groups], giving [n, length', out].\n"
        "strides: steps of the window in length.\n"
        "padding: zeros added before the first and after the last element.\n"
        "dilation: distance between neighbouring kernel elements.\n"
        "groups: the channels fall into that many groups with kernels of their own; as many as\n"
        "there are input channels make it a depthwise convolution.",
    .inputs = kConvInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kLow},
    .infer = InferForward<1>,
    .grad = GradForward,
    .decompose = DecomposeForward,
    .on_empty = OnEmpty::kZero,
    .flops = FlopsForward,
};

}  // namespace ostria
