// SPDX-License-Identifier: Apache-2.0
// What attention and attention_grad share: where operands and attributes are, their checks, and the
// scores in simpler ops. Operands after the declared ones are `options`, in the order of OptionOf.
#pragma once

#include <span>

#include "ir/builder.h"
#include "ops/common/infer.h"

namespace ostria::ops {

/// Attributes of both ops, in their order; kLseGrad is attention_grad's alone.
struct AttentionAttr {
  enum : int { kCausal, kScale, kDropout, kStream, kMasked, kLengths, kLseGrad };
};

inline constexpr AttrDef kAttentionAttrs[] = {
    {"causal", AttrType::kBool, "false"},  {"scale", AttrType::kFloat, "0"},
    {"dropout", AttrType::kFloat, "0"},    {"stream", AttrType::kInt, "0"},
    {"masked", AttrType::kBool, "false"},  {"lengths", AttrType::kBool, "false"},
    {"lse_grad", AttrType::kBool, "false"}};

/// Attributes of attention_packed and attention_packed_grad, whose q, k and v lie beside each other
/// in rows of one tensor [batch, length, (heads + 2 kv_heads) head_dim].
struct PackedAttr {
  enum : int { kCausal, kScale, kHeads, kKvHeads };
};
inline constexpr AttrDef kPackedAttrs[] = {{"causal", AttrType::kBool, "false"},
                                           {"scale", AttrType::kFloat, "0"},
                                           {"heads", AttrType::kInt},
                                           {"kv_heads", AttrType::kInt}};
/// Part `i` of 3 of such rows of `width` elements.
struct PackedPart {
  int64_t start = 0, heads = 0, dim = 0;
  int64_t size() const { return heads * dim; }
};
PackedPart PartOf(std::span<const Attr> packed_attrs, int64_t width, int i);
/// The attributes of attention, or attention_grad, of the parts.
std::vector<Attr> UnpackedAttrs(std::span<const Attr> packed_attrs, bool grad);
/// Checks `qkv`; [batch, length, heads, head_dim], as the result is.
Shape InferPacked(const InferContext& c, int qkv);
/// q, k and v as tensors of their own.
std::vector<Value> Unpack(Builder& b, Value qkv, std::span<const Attr> packed_attrs);

/// Which operand is what; -1 where there is none. `first`: that of q; k and v follow.
struct AttentionOperands {
  int mask = -1, lengths = -1, key = -1, offset = -1, lse_grad = -1;
  int count = 0;  // operands that there must be
};
AttentionOperands OperandsOf(std::span<const Attr> attrs, int first_option, bool grad);

/// 1 / sqrt(head_dim) where the attribute is 0.
double ScaleOf(std::span<const Attr> attrs, int64_t head_dim);

/// [batch, heads, length_q] after every check of q, k, v (operands first, …) and the options.
Shape InferAttention(const InferContext& c, int first, int first_option, bool grad);
/// What the log-sum-exp of this dtype is kept in: float64 of float64, else float32.
inline DType LseType(DType dtype) {
  return dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
}

/// [batch, length, heads, dim] to [batch, heads, length, dim], and back; `repeat`: of each head.
Value SwapHeads(Builder& b, Value x, Dim repeat = 1);
/// The adjoint of SwapHeads: sums over the repeats.
Value SwapHeadsBack(Builder& b, Value x, Dim repeat = 1);

/// The pieces of both decompositions, all [batch, heads, …].
struct AttentionScores {
  Value q, k, v;  // heads in front, k and v repeated for the heads that share them
  Dim repeat = 1;
  double scale = 1;
  Value scores;  // [batch, heads, length_q, length_kv]; minus infinity where masked
};
AttentionScores Scores(Builder& b, std::span<const Value> in, std::span<const Attr> attrs,
                       int first, int first_option, bool grad);
/// `p` with dropout on it, when there is dropout; linear in p.
Value DropScores(Builder& b, Value p, std::span<const Value> in, std::span<const Attr> attrs,
                 const AttentionOperands& at);
/// What the gradient by the scores is: [batch, heads, length_q, length_kv]. Operands as
/// attention_grad's. `p_dropped`: receives the probabilities that met v.
Value ScoresGrad(Builder& b, std::span<const Value> in, std::span<const Attr> attrs,
                 const AttentionScores& s, Value* p_dropped);

}  // namespace ostria::ops
