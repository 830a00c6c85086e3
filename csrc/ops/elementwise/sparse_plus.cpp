// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"
#include "ops/common/via_float32.h"

namespace ostria {

using namespace ops;

namespace {

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSparsePlus, in, attrs);
  const Value one = Scalar(b, b.dtype(in[0]), 1.0);
  const Value between = b(kSquare, {Plus(b, b(kClip, {in[0]}, {-1.0, 1.0}), 1.0)});
  return {b(kWhere, {b(kGreaterEqual, {in[0], one}), in[0], Times(b, between, 0.25)})};
}

}  // namespace

constinit const OpDef ops::kSparsePlus = {
    .name = "sparse_plus",
    .doc =
        "0 up to x = -1, x from 1 on, and (x + 1)^2 / 4 between them, element by element.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferUnaryFloat,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
