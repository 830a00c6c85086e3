// SPDX-License-Identifier: Apache-2.0
// attention: the softmax of scaled products of queries and keys, times the values. The output lse
// is what the gradient wants to know; the scores themselves are kept nowhere.
#include "ops/common/attention.h"

#include <limits>

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Input { kQ, kK, kV, kOptions };
constexpr InputDef kInputs[] = {{"q"}, {"k"}, {"v"}, {"options", Arity::kVariadic, false}};
constexpr OutputDef kOutputs[] = {{"y"}, {"lse"}};
constexpr std::span<const AttrDef> kAttrs{kAttentionAttrs, AttentionAttr::kLseGrad};

void Infer(InferContext& c) {
  const Shape rows = InferAttention(c, kQ, kOptions, false);
  const Shape &q = c.shape(kQ), &v = c.shape(kV);
  c.Out(c.dtype(kQ), {q[0], q[1], q[2], v[3]});
  c.Out(LseType(c.dtype(kQ)), rows);
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  std::vector<Value> in = {c.cotangent(), c.output(0), c.output(1)};
  std::vector<Attr> attrs;
  for (int i = 0; i < c.size(); ++i) in.push_back(c.input(i));
  for (int i = 0; i < AttentionAttr::kLseGrad; ++i) {
    attrs.push_back(b.graph().attrs(c.node())[static_cast<size_t>(i)]);
  }
  attrs.push_back(c.HasCotangent(1));
  if (c.HasCotangent(1)) in.push_back(c.cotangent(1));
  const std::vector<Value> d = b.Multi(kAttentionGrad, in, attrs);
  for (int i = 0; i < 3; ++i) c.Set(i, d[static_cast<size_t>(i)]);

  const AttentionOperands at = OperandsOf(attrs, kOptions, false);
  if (at.mask < 0 || b.dtype(c.input(at.mask)) == DType::kBool || !c.Needs(at.mask)) return;
  // A bias that is learned: its gradient is that of the scores, which only here are made as a
  // whole.
  const Shape shape = b.shape(c.input(at.mask));
  const DType dtype = b.dtype(c.input(at.mask));
  for (Value& v : in) {
    if (SizeOf(b.dtype(v)) == 2) v = Cast(b, v, DType::kFloat32);
  }
  Value dropped;
  const AttentionScores s = Scores(b, in, attrs, 3, 6, true);
  c.Set(at.mask, Cast(b, SumTo(b, ScoresGrad(b, in, attrs, s, &dropped), shape), dtype));
}

// A row without any key has scores of minus infinity only: its weights, and so its result, are 0.
std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kAttention, in, attrs);
  const AttentionOperands at = OperandsOf(attrs, kOptions, false);
  const AttentionScores s = Scores(b, in, attrs, kQ, kOptions, false);
  const DType dtype = b.dtype(s.scores);
  const std::vector<int64_t> last = {3};
  const Value lowest = Scalar(b, dtype, -std::numeric_limits<float>::max());
  const Value top = b(kMaximum, {b(kMax, {s.scores}, {last, true}), lowest});
  const Value e = b(kExp, {b(kSubtract, {s.scores, top})});
  const Value sum = b(kSum, {e}, {last, true});
  const Value some = b(kNotEqual, {sum, Scalar(b, dtype, 0)});
  const Value safe = b(kWhere, {some, sum, Scalar(b, dtype, 1)});
  const Value p = DropScores(b, b(kDivide, {e, safe}), in, attrs, at);
  const Value y = SwapHeadsBack(b, b(kMatmul, {p, s.v}));
  const Value lse = b(kWhere, {some, b(kAdd, {b(kLog, {safe}), top}), Scalar(b, dtype, 0)});
  const Shape rows = b.shape(s.q);
  return {y, Reshape(b, lse, {rows[0], rows[1], rows[2]})};
}

}  // namespace

constinit const OpDef ops::kAttention = {
    .name = "attention",
    .doc =
        "softmax(scale q k^T) v for every head: scaled dot-product attention.\n"
        "q is [batch, length_q, heads, head_dim], k and v are [batch, length_kv, kv_heads, "
        "head_dim]; v may have another head_dim, which is the result's. heads / kv_heads heads of "
        "q share a head of k and v. Also gives the log of the sum of exponentials of every row, "
        "[batch, heads, length_q]. A row whose keys are all masked gives zeros.\n"
        "options: the operands that the attributes ask for, in the order mask, lengths, key, "
        "offset.\n"
        "causal: row i attends to keys 0..i; with different lengths too, both count from the "
        "start.\n"
        "scale: the factor of the products; 0 means 1 / sqrt(head_dim).\n"
        "dropout: the share of weights that are dropped, in [0, 1); asks for key and offset.\n"
        "stream: which draw of the program the dropout is.\n"
        "masked: there is a mask, [batch or 1, heads or 1, length_q or 1, length_kv]: bool (true: "
        "attend), or numbers that are added to the scores.\n"
        "lengths: there are lengths, one per sequence: keys from there on are masked.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.amp = Amp::kLow},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
