// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kLessEqual = {
    .name = "less_equal",
    .doc =
        "Whether x <= y, element by element, as bool.\n"
        "Any comparison with NaN is false. `x` and `y` have one dtype and "
        "broadcast as NumPy "
        "arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = kBoolResult,
    .scalar = kernels::ScalarOp::kLessEqual,
};

}  // namespace ostria
