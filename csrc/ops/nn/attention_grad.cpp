// SPDX-License-Identifier: Apache-2.0
// The weights are made again from q, k and lse; what dropout dropped is drawn again.
#include "ops/common/attention.h"
#include "ops/common/build.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Input { kG, kY, kLse, kQ, kK, kV, kOptions };
constexpr InputDef kInputs[] = {{"g"}, {"y"}, {"lse", Arity::kOne, false},         {"q"},
                                {"k"}, {"v"}, {"options", Arity::kVariadic, false}};
constexpr OutputDef kOutputs[] = {{"dq"}, {"dk"}, {"dv"}};

void Infer(InferContext& c) {
  const Shape rows = InferAttention(c, kQ, kOptions, true);
  const Shape &q = c.shape(kQ), &v = c.shape(kV);
  const Shape y{q[0], q[1], q[2], v[3]};
  for (int i : {kG, kY}) {
    RequireSameDType(c, kQ, i);
    if (!(c.shape(i) == y)) {
      c.Fail("'", InputName(c, i), "' must be ", y, ", but is ", c.shape(i));
    }
  }
  if (!(c.shape(kLse) == rows) || c.dtype(kLse) != LseType(c.dtype(kQ))) {
    c.Fail("'lse' must be ", LseType(c.dtype(kQ)), rows, ", but is ", c.input(kLse));
  }
  for (int i : {kQ, kK, kV}) c.Out(c.input(i));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kAttentionGrad, in, attrs);
  const AttentionScores s = Scores(b, in, attrs, kQ, kOptions, true);
  Value dropped;
  const Value ds = Times(b, ScoresGrad(b, in, attrs, s, &dropped), s.scale);
  const Value dq = b(kMatmul, {ds, s.k});
  const Value dk = b(kMatmul, {ds, s.q}, {true, false});
  const Value dv = b(kMatmul, {dropped, SwapHeads(b, in[kG])}, {true, false});
  return {SwapHeadsBack(b, dq), SwapHeadsBack(b, dk, s.repeat), SwapHeadsBack(b, dv, s.repeat)};
}

}  // namespace

constinit const OpDef ops::kAttentionGrad = {
    .name = "attention_grad",
    .doc =
        "The gradients of attention with respect to q, k and v.\n"
        "options, causal, scale, dropout, stream, masked, lengths: as for attention.\n"
        "lse_grad: the last option is the gradient of the log-sum-exp.",
    .inputs = kInputs,
    .attrs = kAttentionAttrs,
    .outputs = kOutputs,
    .traits = {.internal = true, .amp = Amp::kLow},
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
