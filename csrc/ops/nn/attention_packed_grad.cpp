// SPDX-License-Identifier: Apache-2.0
// The gradient of attention_packed, in one tensor as qkv is: what the gradient of the product
// reads.
#include "ops/common/attention.h"
#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Input { kG, kY, kLse, kQkv };
constexpr InputDef kInputs[] = {{"g"}, {"y"}, {"lse", Arity::kOne, false}, {"qkv"}};
constexpr OutputDef kOutputs[] = {{"dqkv"}};

void Infer(InferContext& c) {
  const Shape y = InferPacked(c, kQkv), rows{y[0], y[2], y[1]};
  for (int i : {kG, kY}) {
    RequireSameDType(c, kQkv, i);
    if (!(c.shape(i) == y)) {
      c.Fail("'", InputName(c, i), "' must be ", y, ", but is ", c.shape(i));
    }
  }
  if (!(c.shape(kLse) == rows) || c.dtype(kLse) != LseType(c.dtype(kQkv))) {
    c.Fail("'lse' must be ", LseType(c.dtype(kQkv)), rows, ", but is ", c.input(kLse));
  }
  c.Out(c.input(kQkv));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  std::vector<Value> operands(in.begin(), in.begin() + kQkv);
  for (Value v : Unpack(b, in[kQkv], attrs)) operands.push_back(v);
  std::vector<Value> parts = b.Multi(kAttentionGrad, operands, UnpackedAttrs(attrs, true));
  for (Value& v : parts) {
    const Shape s = b.shape(v);
    v = Reshape(b, v, {s[0], s[1], s[2] * s[3]});
  }
  return {b(kConcat, parts, {int64_t{2}})};
}

}  // namespace

constinit const OpDef ops::kAttentionPackedGrad = {
    .name = "attention_packed_grad",
    .doc =
        "The gradient of attention_packed with respect to qkv.\n"
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
