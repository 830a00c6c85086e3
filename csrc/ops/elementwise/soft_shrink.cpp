// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kThreshold };
constexpr AttrDef kAttrs[] = {{"threshold", AttrType::kFloat, "0.5"}};

void Infer(InferContext& c) {
  const double threshold = c.attr<double>(kThreshold);
  if (!(threshold >= 0)) c.Fail("threshold is ", threshold, ", but must be at least 0");
  InferUnaryFloat(c);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const double limit = std::get<double>(attrs[kThreshold]);
  return {b(kSubtract, {in[0], b(kClip, {in[0]}, {-limit, limit})})};
}

}  // namespace

constinit const OpDef ops::kSoftShrink = {
    .name = "soft_shrink",
    .doc =
        "x moved toward 0 by the threshold, and 0 within it, element by element.\n"
        "Floating-point only.\n"
        "threshold: how far; at least 0.",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
