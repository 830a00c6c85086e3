// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kLogicalNot = {
    .name = "logical_not",
    .doc =
        "Whether x is false, element by element, as bool.\n"
        "A number is false when it is 0.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = kBoolResult,
    .scalar = kernels::ScalarOp::kLogicalNot,
};

}  // namespace ostria
