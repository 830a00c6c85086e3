// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"
#include "ops/common/via_float32.h"

namespace ostria {

using namespace ops;

namespace {

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kHardSilu, in, attrs);
  return {b(kMultiply, {in[0], b(kHardSigmoid, {in[0]})})};
}

}  // namespace

constinit const OpDef ops::kHardSilu = {
    .name = "hard_silu",
    .doc =
        "x * hard_sigmoid(x), element by element (also called hard_swish).\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferUnaryFloat,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
