// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kFloor = {
    .name = "floor",
    .doc =
        "The largest integer not above x, element by element.\n"
        "Integers stay as they are. The gradient is 0.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = GradRule::Zero(),
    .scalar = kernels::ScalarOp::kFloor,
};

}  // namespace ostria
