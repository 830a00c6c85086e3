// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kSign = {
    .name = "sign",
    .doc =
        "-1, 0 or 1 as x is negative, zero or positive, element by element; "
        "NaN stays NaN.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = GradRule::Zero(),
    .scalar = kernels::ScalarOp::kSign,
};

}  // namespace ostria
