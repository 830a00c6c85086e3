// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kLogicalXor = {
    .name = "logical_xor",
    .doc =
        "Whether exactly one of x and y is true, element by element, as bool.\n"
        "A number is true when it is not 0; NaN is true. `x` and `y` have one "
        "dtype and "
        "broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSymmetricKinked,
    .infer = InferElementwise,
    .grad = kBoolResult,
    .scalar = kernels::ScalarOp::kLogicalXor,
};

}  // namespace ostria
