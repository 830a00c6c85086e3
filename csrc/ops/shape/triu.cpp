// SPDX-License-Identifier: Apache-2.0
#include "ops/common/rearrange.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"k", AttrType::kInt, "0"}};

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  return KeepTriangle(b, in, attrs, kGreaterEqual);
}

}  // namespace

constinit const OpDef ops::kTriu = {
    .name = "triu",
    .doc =
        "x with zeros below a diagonal of the last two axes.\n"
        "k: the diagonal, 0 for the main one, positive above it.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = InferTriangle,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .flops = NoFlops,
};

}  // namespace ostria
