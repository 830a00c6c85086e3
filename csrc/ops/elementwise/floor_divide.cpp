// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kFloorDivide = {
    .name = "floor_divide",
    .doc =
        "The largest integer not above x / y, element by element.\n"
        "Rounds toward minus infinity, as Python's //. Integers divided by "
        "0 give 0. `x` and "
        "`y` have one dtype and broadcast as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = GradRule::Zero(),
    .scalar = kernels::ScalarOp::kFloorDivide,
};

}  // namespace ostria
