// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kTrunc = {
    .name = "trunc",
    .doc =
        "x without its fraction, rounded toward zero, element by element.\n"
        "Integers stay as they are. The gradient is 0.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = GradRule::Zero(),
    .scalar = kernels::ScalarOp::kTrunc,
};

}  // namespace ostria
