// SPDX-License-Identifier: Apache-2.0
#include "ops/common/conv.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts, "[1]"},
                              {"padding", AttrType::kInts, "[0, 0]"},
                              {"dilation", AttrType::kInts, "[1]"},
                              {"groups", AttrType::kInt, "1"},
                              {"output_padding", AttrType::kInts, "[0]"}};

}  // namespace

constinit const OpDef ops::kConvTranspose1d = {
    .name = "conv_transpose1d",
    .doc =
        "The transpose of conv1d: sequences x [n, length, in] with kernel [in, length, out / "
        "groups]\n"
        "give [n, length', out], of sizes (size - 1) * stride + reach of the kernel - padding +\n"
        "output_padding.\n"
        "strides: steps of conv1d's window, by which the result is larger than x.\n"
        "padding: how much is cut off before the first and after the last element.\n"
        "dilation: as for conv1d.\n"
        "groups: as for conv1d.\n"
        "output_padding: makes the result longer at its end, by less than a stride.",
    .inputs = kConvInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kLow},
    .infer = InferTranspose<1>,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = DecomposeTranspose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
