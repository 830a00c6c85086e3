// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kIsinf = {
    .name = "isinf",
    .doc = "Whether x is plus or minus infinity, element by element, as bool.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = kBoolResult,
    .scalar = kernels::ScalarOp::kIsInf,
};

}  // namespace ostria
