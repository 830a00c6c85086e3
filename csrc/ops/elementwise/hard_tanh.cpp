// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  return {b(kClip, {in[0]}, {-1.0, 1.0})};
}

}  // namespace

constinit const OpDef ops::kHardTanh = {
    .name = "hard_tanh",
    .doc =
        "x limited to [-1, 1], element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferUnaryFloat,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
