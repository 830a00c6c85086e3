// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kBitwiseRightShift = {
    .name = "bitwise_right_shift",
    .doc =
        "x with its bits moved down by y places, element by element: x / 2^y rounded down.\n"
        "A count below 0 or not below the width of the dtype gives 0, or -1 where x is negative. "
        "`x` and `y` have one dtype and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = kIntegerOnly,
    .scalar = kernels::ScalarOp::kBitwiseRightShift,
};

}  // namespace ostria
