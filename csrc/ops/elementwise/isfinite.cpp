// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

constinit const OpDef ops::kIsfinite = {
    .name = "isfinite",
    .doc = "Whether x is neither infinite nor NaN, element by element, as bool.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = kBoolResult,
    .scalar = kernels::ScalarOp::kIsFinite,
};

}  // namespace ostria
