// SPDX-License-Identifier: Apache-2.0
// Stays in the graph only while the sizes are symbols; specialised, it
// decomposes to `full`.
#include "ir/builder.h"
#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria {
namespace {

enum Attribute { kShape, kType };
constexpr AttrDef kAttrs[] = {{"shape", AttrType::kShape}, {"dtype", AttrType::kDType, "int64"}};

void Infer(InferContext& c) { c.Out(c.attr<DType>(kType), {}); }

std::vector<Value> Decompose(Builder& b, std::span<const Value>, std::span<const Attr> attrs) {
  const double n = static_cast<double>(std::get<Shape>(attrs[kShape]).numel());
  return {ops::Scalar(b, std::get<DType>(attrs[kType]), n)};
}

}  // namespace

constinit const OpDef ops::kDimProduct = {
    .name = "dim_product",
    .doc =
        "The product of dimensions as a value: how many elements a symbolic "
        "shape has.\n"
        "shape: the dimensions.\n"
        "dtype: the result's dtype.",
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = NoGrad("it has no inputs"),
    .decompose = Decompose,
};

}  // namespace ostria
