// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kTarget };
constexpr AttrDef kAttrs[] = {{"dtype", AttrType::kDType}};

void Infer(InferContext& c) { c.Out(c.attr<DType>(kTarget), c.shape(0)); }

void Grad(GradContext& c) {
  const DType from = c.b.dtype(c.input(0));
  if (IsFloat(from) && IsFloat(c.attr<DType>(kTarget))) c.Set(0, Cast(c.b, c.cotangent(), from));
}

}  // namespace

constinit const OpDef ops::kCast = {
    .name = "cast",
    .doc =
        "The same values as another dtype, element by element.\n"
        "Floats become integers by dropping the fraction, and saturate; "
        "bool is whether x is "
        "not 0.\n"
        "dtype: the result's dtype.",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = Infer,
    .grad = Grad,
    .flops = NoFlops,
};

}  // namespace ostria
