// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

// Half types are computed in float32, whose next number rounds back to x.
void Infer(InferContext& c) {
  InferElementwise(c);
  for (int i = 0; i < c.size(); ++i) {
    if (c.dtype(i) == DType::kFloat32 || c.dtype(i) == DType::kFloat64) continue;
    c.FailType("needs float32 or float64, but '", InputName(c, i), "' is ", c.input(i),
               "; cast it first, as in cast(", InputName(c, i), ", \"float32\")");
  }
}

}  // namespace

constinit const OpDef ops::kNextafter = {
    .name = "nextafter",
    .doc =
        "The number of the dtype that follows x on the way to y, element by element.\n"
        "float32 and float64 only. Equal operands give y. `x` and `y` have one dtype and broadcast "
        "as NumPy arrays do.",
    .inputs = kBinaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = Infer,
    .grad = NoGrad("it moves x by one rounding step"),
    .scalar = kernels::ScalarOp::kNextAfter,
};

}  // namespace ostria
