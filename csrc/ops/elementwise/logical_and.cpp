// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kLogicalAnd = {
    .name = "logical_and",
    .doc =
        "Whether both x and y are true, element by element, as bool.\n"
        "A number is true when it is not 0; NaN is true. `x` and `y` have "
        "one dtype and "
        "broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kSymmetricKinked,
    .infer = InferElementwise,
    .grad = kBoolResult,
    .scalar = kernels::ScalarOp::kLogicalAnd,
};

}  // namespace ostria
