// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kBitwiseOr = {
    .name = "bitwise_or",
    .doc =
        "The bitwise OR of two integers or bools, element by element.\n"
        "`x` and `y` have one dtype and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSymmetricKinked,
    .infer = InferElementwise,
    .grad = kIntegerOnly,
    .scalar = kernels::ScalarOp::kBitwiseOr,
};

}  // namespace ostria
