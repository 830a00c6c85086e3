// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"
#include "ops/common/via_float32.h"

namespace ostria {

using namespace ops;

namespace {

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSparseSigmoid, in, attrs);
  return {b(kClip, {Plus(b, Times(b, in[0], 0.5), 0.5)}, {0.0, 1.0})};
}

}  // namespace

constinit const OpDef ops::kSparseSigmoid = {
    .name = "sparse_sigmoid",
    .doc =
        "(x + 1) / 2, limited to [0, 1], element by element: the slope of sparse_plus.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferUnaryFloat,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
