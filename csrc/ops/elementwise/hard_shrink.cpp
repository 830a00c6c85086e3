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
  const DType dtype = b.dtype(in[0]);
  const Value limit = Scalar(b, dtype, std::get<double>(attrs[kThreshold]));
  const Value within = b(kLessEqual, {b(kAbs, {in[0]}), limit});  // not so for NaN, which stays
  return {b(kWhere, {within, Scalar(b, dtype, 0.0), in[0]})};
}

}  // namespace

constinit const OpDef ops::kHardShrink = {
    .name = "hard_shrink",
    .doc =
        "x where |x| > threshold, else 0, element by element; NaN stays.\n"
        "Floating-point only.\n"
        "threshold: at least 0.",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
