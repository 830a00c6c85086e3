// SPDX-License-Identifier: Apache-2.0
#include "ir/builder.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"xs", Arity::kVariadic}};

void Infer(InferContext& c) {
  if (c.size() == 0) c.Fail("needs at least one tensor");
  for (int i = 0; i < c.size(); ++i) RequireFloat(c, i);
  c.Out(DType::kBool, {});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  Value all;
  for (Value x : in) {
    const Value one = b(kAll, {b(kIsfinite, {x})});
    all = all.valid() ? b(kLogicalAnd, {all, one}) : one;
  }
  return {all};
}

}  // namespace

constinit const OpDef ops::kAllFinite = {
    .name = "all_finite",
    .doc = "Whether no element of any of the tensors is infinite or NaN; bool[].",
    .inputs = kInputs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("the result is bool"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kRun,
};

}  // namespace ostria
