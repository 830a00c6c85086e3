// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kBitwiseInvert = {
    .name = "bitwise_invert",
    .doc =
        "Every bit of an integer flipped, or the opposite of a bool, "
        "element by element.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = kIntegerOnly,
    .scalar = kernels::ScalarOp::kBitwiseInvert,
};

}  // namespace ostria
