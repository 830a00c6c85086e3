// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  return {b(kDivide, {in[0], Plus(b, b(kAbs, {in[0]}), 1.0)})};
}

}  // namespace

constinit const OpDef ops::kSoftsign = {
    .name = "softsign",
    .doc =
        "x / (1 + |x|), element by element: the sign of x, approached slowly.\n"
        "Floating-point only.",
    .inputs = kUnaryInputs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferUnaryFloat,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
