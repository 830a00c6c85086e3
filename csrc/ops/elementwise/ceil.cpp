// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kCeil = {
    .name = "ceil",
    .doc =
        "The smallest integer not below x, element by element.\n"
        "Integers stay as they are. The gradient is 0.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = GradRule::Zero(),
    .scalar = kernels::ScalarOp::kCeil,
};

}  // namespace ostria
