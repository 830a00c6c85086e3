// SPDX-License-Identifier: Apache-2.0
#include "ir/builder.h"
#include "ops/ops.h"

namespace ostria {
namespace {

enum Attribute { kShape, kType, kValue };
constexpr AttrDef kAttrs[] = {{"shape", AttrType::kShape},
                              {"dtype", AttrType::kDType, "float32"},
                              {"value", AttrType::kFloat, "0"}};

void Infer(InferContext& c) { c.Out(c.attr<DType>(kType), c.attr<Shape>(kShape)); }

}  // namespace

constinit const OpDef ops::kFull = {
    .name = "full",
    .doc =
        "A tensor with one value everywhere.\n"
        "shape: its shape, possibly with symbolic dimensions.\n"
        "dtype: its dtype.\n"
        "value: every element; integers beyond 2^53 need `constant`.",
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("it has no inputs"),
    .flops = NoFlops,
};

}  // namespace ostria
