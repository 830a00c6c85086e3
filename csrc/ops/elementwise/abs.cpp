// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

void Grad(GradContext& c) { c.Set(0, c.b(kMultiply, {c.cotangent(), c.b(kSign, {c.input(0)})})); }

}  // namespace

constinit const OpDef ops::kAbs = {
    .name = "abs",
    .doc =
        "The absolute value, element by element.\n"
        "The most negative integer stays as it is.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferElementwise,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kAbs,
};

}  // namespace ostria
