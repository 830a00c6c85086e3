// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kBitwiseLeftShift = {
    .name = "bitwise_left_shift",
    .doc =
        "x with its bits moved up by y places, zeros from below, element by element.\n"
        "A count below 0 or not below the width of the dtype gives 0. `x` and `y` have one dtype "
        "and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = kIntegerOnly,
    .scalar = kernels::ScalarOp::kBitwiseLeftShift,
};

}  // namespace ostria
