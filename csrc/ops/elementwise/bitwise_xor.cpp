// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kBitwiseXor = {
    .name = "bitwise_xor",
    .doc =
        "The bitwise XOR of two integers or bools, element by element.\n"
        "`x` and `y` have one dtype and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSymmetricKinked,
    .infer = InferElementwise,
    .grad = kIntegerOnly,
    .scalar = kernels::ScalarOp::kBitwiseXor,
};

}  // namespace ostria
