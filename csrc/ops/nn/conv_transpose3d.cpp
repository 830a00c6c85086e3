// SPDX-License-Identifier: Apache-2.0
#include "ops/common/conv.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts, "[1, 1, 1]"},
                              {"padding", AttrType::kInts, "[0, 0, 0, 0, 0, 0]"},
                              {"dilation", AttrType::kInts, "[1, 1, 1]"},
                              {"groups", AttrType::kInt, "1"},
                              {"output_padding", AttrType::kInts, "[0, 0, 0]"}};

}  // namespace

constinit const OpDef ops::kConvTranspose3d = {
    .name = "conv_transpose3d",
    .doc =
        "The transpose of conv3d: volumes x [n, d, h, w, in] with kernel [in, kd, kh, kw, out / "
        "groups]\n"
        "give [n, d', h', w', out], of sizes (size - 1) * stride + reach of the kernel - padding "
        "+\n"
        "output_padding.\n"
        "strides: steps of conv3d's window, by which the result is larger than x.\n"
        "padding: how much is cut off at the front, back, top, bottom, left and right.\n"
        "dilation: as for conv3d.\n"
        "groups: as for conv3d.\n"
        "output_padding: makes the result longer at its end, by less than a stride.",
    .inputs = kConvInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kLow},
    .infer = InferTranspose<3>,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = DecomposeTranspose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
