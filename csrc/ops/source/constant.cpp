// SPDX-License-Identifier: Apache-2.0
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

enum Attribute { kValue };
constexpr AttrDef kAttrs[] = {{"value", AttrType::kTensor}};

void Infer(InferContext& c) {
  const Tensor& value = c.attr<Tensor>(kValue);
  c.Out(value.dtype(), value.shape());
}

}  // namespace

constinit const OpDef ops::kConstant = {
    .name = "constant",
    .doc =
        "A tensor that is part of the graph.\n"
        "value: the tensor.",
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("it has no inputs"),
    .flops = NoFlops,
};

}  // namespace ostria
