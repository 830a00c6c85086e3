// SPDX-License-Identifier: Apache-2.0
#include "ops/common/elementwise.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kLimit, kDefault };
constexpr AttrDef kAttrs[] = {{"threshold", AttrType::kFloat}, {"default_value", AttrType::kFloat}};

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const DType dtype = b.dtype(in[0]);
  const Value limit = Scalar(b, dtype, std::get<double>(attrs[kLimit]));
  const Value below = b(kLessEqual, {in[0], limit});  // not so for NaN, which stays
  return {b(kWhere, {below, Scalar(b, dtype, std::get<double>(attrs[kDefault])), in[0]})};
}

}  // namespace

constinit const OpDef ops::kThreshold = {
    .name = "threshold",
    .doc =
        "x where x > threshold, else default_value, element by element; NaN stays.\n"
        "Floating-point only.\n"
        "threshold: what x must exceed to stay.\n"
        "default_value: what stands in the place of the others.",
    .inputs = kUnaryInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = kKinked,
    .infer = InferUnaryFloat,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
