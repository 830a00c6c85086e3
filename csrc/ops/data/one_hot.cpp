// SPDX-License-Identifier: Apache-2.0
#include "ir/grad_context.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kDepth, kType };
constexpr InputDef kInputs[] = {{"indices", Arity::kOne, false}};
constexpr AttrDef kAttrs[] = {{"depth", AttrType::kInt}, {"dtype", AttrType::kDType, "float32"}};

void Infer(InferContext& c) {
  RequireIndex(c, 0);
  const int64_t depth = c.attr<int64_t>(kDepth);
  if (depth < 0)
    c.Fail("depth is ", depth, "; it is the number of classes and must not be negative");
  Shape out = c.shape(0);
  out.Append(depth);
  c.Out(c.attr<DType>(kType), out);
}

}  // namespace

constinit const OpDef ops::kOneHot = {
    .name = "one_hot",
    .doc =
        "Vectors of zeros with a one at each index; all zeros for an index outside 0..depth-1.\n"
        "indices: int32 or int64.\n"
        "depth: how long the vectors are.\n"
        "dtype: the result's dtype.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("indices are integers"),
    .flops = NoFlops,
};

}  // namespace ostria
