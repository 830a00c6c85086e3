// SPDX-License-Identifier: Apache-2.0
#include "ops/common/conv.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts, "[1, 1]"},
                              {"padding", AttrType::kInts, "[0, 0, 0, 0]"},
                              {"dilation", AttrType::kInts, "[1, 1]"},
                              {"groups", AttrType::kInt, "1"}};

}  // namespace

constinit const OpDef ops::kConv2d = {
    .name = "conv2d",
    .doc =
        "Two-dimensional convolution (cross-correlation) of images x [n, h, w, in] with\n"
        "kernel [out, kh, kw, in / groups], giving [n, h', w', out].\n"
        "strides: steps of the window in height and width.\n"
        "padding: zeros added at the top, bottom, left and right.\n"
        "dilation: distance between neighbouring kernel elements.\n"
        "groups: the channels fall into that many groups with kernels of their own; as many as\n"
        "there are input channels make it a depthwise convolution.",
    .inputs = kConvInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kLow},
    .infer = InferForward<2>,
    .grad = GradForward,
    .decompose = DecomposeForward,
    .on_empty = OnEmpty::kZero,
    .flops = FlopsForward,
};

}  // namespace ostria
