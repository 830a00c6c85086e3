// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kMin, kMax };
constexpr AttrDef kAttrs[] = {{"min", AttrType::kFloat, "-inf"}, {"max", AttrType::kFloat, "inf"}};

void Infer(InferContext& c) {
  const double low = c.attr<double>(kMin), high = c.attr<double>(kMax);
  if (!(low <= high)) {
    c.Fail("the limits min=", low, " and max=", high,
           " leave no value between them; give min <= max, and neither as NaN");
  }
  RequireNumber(c, 0);
  c.Out(c.input(0));
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value x = c.input(0), g = c.cotangent();
  const DType t = b.dtype(x);
  const double low = c.attr<double>(kMin), high = c.attr<double>(kMax);
  const Value above = b(kGreaterEqual, {x, Scalar(b, t, low)});
  const Value below = b(kLessEqual, {x, Scalar(b, t, high)});
  c.Set(0, b(kWhere, {b(kLogicalAnd, {above, below}), g, Scalar(b, t, 0.0)}));
}

}  // namespace

constinit const OpDef ops::kClip = {
    .name = "clip",
    .doc =
        "x limited to [min, max], element by element; NaN stays NaN.\n"
        "The gradient passes where min <= x <= max.\n"
        "min: the lower limit, -inf for none.\n"
        "max: the upper limit, inf for none.",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = Infer,
    .grad = Grad,
    .scalar = kernels::ScalarOp::kClip,
};

}  // namespace ostria
