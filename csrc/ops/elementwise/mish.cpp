// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"
#include "ops/common/via_float32.h"

namespace ostria {

using namespace ops;

namespace {

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kMish, in, attrs);
  return {b(kMultiply, {in[0], b(kTanh, {b(kSoftplus, {in[0]})})})};
}

}  // namespace

constinit const OpDef ops::kMish = {
    .name = "mish",
    .doc =
        "x * tanh(softplus(x)), element by element (Misra 2019).\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kSmooth,
    .infer = InferUnaryFloat,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
