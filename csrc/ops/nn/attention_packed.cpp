// SPDX-License-Identifier: Apache-2.0
// attention of queries, keys and values that one product gave, side by side in its rows: a pass
// makes it where a library reads them there, so that nothing is copied apart.
#include "ops/common/attention.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"qkv"}};
constexpr OutputDef kOutputs[] = {{"y"}, {"lse"}};

void Infer(InferContext& c) {
  const Shape y = InferPacked(c, 0);
  c.Out(c.dtype(0), y);
  c.Out(LseType(c.dtype(0)), {y[0], y[2], y[1]});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  return b.Multi(kAttention, Unpack(b, in[0], attrs), UnpackedAttrs(attrs, false));
}

}  // namespace

constinit const OpDef ops::kAttentionPacked = {
    .name = "attention_packed",
    .doc =
        "attention of q, k and v that lie in this order in the rows of qkv, [batch, length, "
        "(heads + 2 kv_heads) head_dim].\n"
        "causal: as for attention.\n"
        "scale: as for attention.\n"
        "heads: of q.\n"
        "kv_heads: of k, and of v.",
    .inputs = kInputs,
    .attrs = kPackedAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true, .amp = Amp::kLow},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
