// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kReluGrad, {c.cotangent(), c.output()})); }

}  // namespace

constinit const OpDef ops::kRelu = {
    .name = "relu",
    .doc =
        "max(x, 0), element by element; NaN stays NaN.\n"
        "Its slope at 0 is taken as 0.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kRelu,
};

}  // namespace ostria
