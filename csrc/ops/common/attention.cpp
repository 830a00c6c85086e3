// SPDX-License-Identifier: Apache-2.0
#include "ops/common/attention.h"

#include <cmath>
#include <limits>

#include "ops/common/build.h"
#include "ops/common/random.h"
#include "ops/common/rearrange.h"
#include "ops/ops.h"

namespace ostria::ops {
namespace {

// The first operands of attention_grad; q, k and v are from kGradQ on.
enum GradInput { kG, kY, kLse, kGradQ, kGradK, kGradV, kGradOptions };

bool OneOr(Dim given, Dim size) { return given == Dim(1) || Equal(given, size) == Tri::kYes; }

void CheckMask(const InferContext& c, int mask, Shape scores, DType dtype) {
  const Shape& s = c.shape(mask);
  const bool fits = s.rank() == 4 && OneOr(s[0], scores[0]) && OneOr(s[1], scores[1]) &&
                    OneOr(s[2], scores[2]) && Equal(s[3], scores[3]) == Tri::kYes;
  if (!fits) {
    c.Fail("the mask's shape is ", s, ", but the scores are ", scores,
           " ([batch, heads, length_q, length_kv]); it must be equal, or 1 in any of the first "
           "three axes; reshape the mask to rank 4");
  }
  if (c.dtype(mask) != DType::kBool && c.dtype(mask) != dtype) {
    c.FailType("the mask is ", c.dtype(mask), " and q is ", dtype,
               "; give a bool mask (true: attend) or numbers of q's dtype, which are added to the "
               "scores");
  }
}

}  // namespace

AttentionOperands OperandsOf(std::span<const Attr> attrs, int first_option, bool grad) {
  AttentionOperands at;
  int next = first_option;
  if (std::get<bool>(attrs[AttentionAttr::kMasked])) at.mask = next++;
  if (std::get<bool>(attrs[AttentionAttr::kLengths])) at.lengths = next++;
  if (std::get<double>(attrs[AttentionAttr::kDropout]) != 0) {
    at.key = next++;
    at.offset = next++;
  }
  if (grad && std::get<bool>(attrs[AttentionAttr::kLseGrad])) at.lse_grad = next++;
  at.count = next;
  return at;
}

double ScaleOf(std::span<const Attr> attrs, int64_t head_dim) {
  const double scale = std::get<double>(attrs[AttentionAttr::kScale]);
  if (scale != 0) return scale;
  return head_dim == 0 ? 1 : 1 / std::sqrt(static_cast<double>(head_dim));
}

Shape InferAttention(const InferContext& c, int first, int first_option, bool grad) {
  RequireFloat(c, first);
  for (int i = first; i < first + 3; ++i) {
    RequireSameDType(c, first, i);
    RequireRank(c, i, 4, "[batch, length, heads, head_dim]");
  }
  const Shape &q = c.shape(first), &k = c.shape(first + 1), &v = c.shape(first + 2);
  for (const auto& [name, shape] : {std::pair("q", &q), std::pair("k", &k), std::pair("v", &v)}) {
    for (int axis : {2, 3}) {
      if (!(*shape)[axis].is_static()) {
        c.Fail("heads and head_dim of '", name, "' must be known numbers, but its shape is ",
               *shape, "; only the batch size and the lengths may be unknown while tracing");
      }
    }
  }
  RequireEqual(c, q[0], k[0], "the batch sizes of 'q' and 'k'");
  RequireEqual(c, q[0], v[0], "the batch sizes of 'q' and 'v'");
  RequireEqual(c, k[1], v[1], "the lengths of 'k' and 'v'");
  RequireEqual(c, k[2], v[2], "the heads of 'k' and 'v'");
  RequireEqual(c, q[3], k[3], "the head_dim of 'q' and 'k'");
  const int64_t heads = q[2].value(), kv_heads = k[2].value();
  if (kv_heads == 0 ? heads != 0 : heads % kv_heads != 0) {
    c.Fail("'q' has ", heads, " heads and 'k' has ", kv_heads,
           "; heads of q share those of k in groups of equal size, so give a multiple of ",
           kv_heads, " heads");
  }
  const double rate = c.attr<double>(AttentionAttr::kDropout);
  if (!(rate >= 0 && rate < 1)) {
    c.Fail("dropout is ", rate, "; it is the share of weights to drop and must be in [0, 1)");
  }
  const double scale = c.attr<double>(AttentionAttr::kScale);
  if (!std::isfinite(scale)) {
    c.Fail("scale is ", scale, "; give a finite number, or 0 for 1 / sqrt(head_dim)");
  }
  const AttentionOperands at = OperandsOf(c.attrs(), first_option, grad);
  if (c.size() != at.count) {
    c.FailType("takes ", at.count - first_option, " options with these attributes, but ",
               c.size() - first_option,
               " were given; options are the mask (masked), the lengths (lengths), then key and "
               "offset (dropout)");
  }
  const Shape rows{q[0], q[2], q[1]};
  if (at.mask >= 0) CheckMask(c, at.mask, {q[0], q[2], q[1], k[1]}, c.dtype(first));
  if (at.lengths >= 0) {
    RequireIndex(c, at.lengths);
    if (c.shape(at.lengths).rank() != 1 || Equal(c.shape(at.lengths)[0], q[0]) != Tri::kYes) {
      c.Fail("the lengths' shape is ", c.shape(at.lengths),
             "; give one number of keys for each of ", q[0], " sequences: [", q[0], "]");
    }
  }
  if (at.key >= 0) {
    if (c.dtype(at.key) != DType::kInt64 || !(c.shape(at.key) == Shape{2})) {
      c.Fail("the key of dropout must be int64[2] (seed and step), but is ", c.input(at.key));
    }
    if (c.dtype(at.offset) != DType::kInt64 || c.shape(at.offset).rank() != 0) {
      c.Fail("the offset of dropout must be int64[] (the global number of the first row), but is ",
             c.input(at.offset));
    }
  }
  if (at.lse_grad >= 0 && !(c.shape(at.lse_grad) == rows)) {
    c.Fail("the gradient of the log-sum-exp must be ", rows, ", but is ", c.input(at.lse_grad));
  }
  return rows;
}

PackedPart PartOf(std::span<const Attr> attrs, int64_t width, int i) {
  const int64_t heads = std::get<int64_t>(attrs[PackedAttr::kHeads]),
                kv_heads = std::get<int64_t>(attrs[PackedAttr::kKvHeads]);
  const int64_t dim = width / (heads + 2 * kv_heads);
  return {i == 0 ? 0 : (heads + (i - 1) * kv_heads) * dim, i == 0 ? heads : kv_heads, dim};
}

std::vector<Attr> UnpackedAttrs(std::span<const Attr> attrs, bool grad) {
  std::vector<Attr> out = {
      attrs[PackedAttr::kCausal], attrs[PackedAttr::kScale], 0.0, int64_t{0}, false, false};
  if (grad) out.push_back(false);
  return out;
}

Shape InferPacked(const InferContext& c, int qkv) {
  RequireFloat(c, qkv);
  RequireRank(c, qkv, 3, "[batch, length, (heads + 2 kv_heads) head_dim]");
  const Shape& shape = c.shape(qkv);
  const int64_t heads = c.attr<int64_t>(PackedAttr::kHeads),
                kv_heads = c.attr<int64_t>(PackedAttr::kKvHeads), all = heads + 2 * kv_heads;
  if (heads < 1 || kv_heads < 1 || heads % kv_heads != 0 || !shape[2].is_static() ||
      shape[2].value() % all != 0) {
    c.Fail("'", InputName(c, qkv), "' has shape ", shape, ", whose rows are not ", heads,
           " heads of q and twice ", kv_heads, " of k and v, in groups of equal size");
  }
  return {shape[0], shape[1], heads, shape[2].value() / all};
}

std::vector<Value> Unpack(Builder& b, Value qkv, std::span<const Attr> attrs) {
  const Shape rows = b.shape(qkv);
  std::vector<Value> out;
  for (int i = 0; i < 3; ++i) {
    const PackedPart part = PartOf(attrs, rows[2].value(), i);
    const Value x = b(kSliceAt, {qkv}, {int64_t{2}, Shape{part.start}, Shape{part.size()}});
    out.push_back(Reshape(b, x, {rows[0], rows[1], part.heads, part.dim}));
  }
  return out;
}

Value SwapHeads(Builder& b, Value x, Dim repeat) {
  x = RepeatBlocks(b, x, 2, 3, repeat.value());
  return b(kTranspose, {x}, {std::vector<int64_t>{0, 2, 1, 3}});
}

Value SwapHeadsBack(Builder& b, Value x, Dim repeat) {
  x = b(kTranspose, {x}, {std::vector<int64_t>{0, 2, 1, 3}});
  if (repeat == Dim(1)) return x;
  const Shape s = b.shape(x);
  x = Reshape(b, x, {s[0], s[1], FloorDiv(s[2], repeat), repeat, s[3]});
  return b(kSum, {x}, {std::vector<int64_t>{3}, false});
}

AttentionScores Scores(Builder& b, std::span<const Value> in, std::span<const Attr> attrs,
                       int first, int first_option, bool grad) {
  const AttentionOperands at = OperandsOf(attrs, first_option, grad);
  const Shape q = b.shape(in[first]), k = b.shape(in[first + 1]);
  AttentionScores s;
  s.repeat = k[2] == Dim(0) ? Dim(1) : FloorDiv(q[2], k[2]);
  s.scale = ScaleOf(attrs, q[3].value());
  s.q = SwapHeads(b, in[first]);
  s.k = SwapHeads(b, in[first + 1], s.repeat);
  s.v = SwapHeads(b, in[first + 2], s.repeat);
  s.scores = Times(b, b(kMatmul, {s.q, s.k}, {false, true}), s.scale);
  const DType dtype = b.dtype(s.scores);
  const Value nothing = Scalar(b, dtype, -std::numeric_limits<double>::infinity());
  if (at.mask >= 0) {
    s.scores = b.dtype(in[at.mask]) == DType::kBool ? b(kWhere, {in[at.mask], s.scores, nothing})
                                                    : b(kAdd, {s.scores, in[at.mask]});
  }
  const Value columns = b(kIota, {}, {Shape{k[1]}, DType::kInt64});
  if (std::get<bool>(attrs[AttentionAttr::kCausal])) {
    const Value rows = Reshape(b, b(kIota, {}, {Shape{q[1]}, DType::kInt64}), {q[1], 1});
    s.scores = b(kWhere, {b(kGreaterEqual, {rows, columns}), s.scores, nothing});
  }
  if (at.lengths >= 0) {
    const Value lengths = Reshape(b, Cast(b, in[at.lengths], DType::kInt64), {q[0], 1, 1, 1});
    s.scores = b(kWhere, {b(kLess, {columns, lengths}), s.scores, nothing});
  }
  return s;
}

Value DropScores(Builder& b, Value p, std::span<const Value> in, std::span<const Attr> attrs,
                 const AttentionOperands& at) {
  if (at.key < 0) return p;
  return b(kDropout, {p, in[at.key], in[at.offset]},
           {attrs[AttentionAttr::kDropout], attrs[AttentionAttr::kStream]});
}

// p = exp(scores - lse);  d scores = p (dropout(g v^T) - delta),  delta = sum(g y) - d lse
Value ScoresGrad(Builder& b, std::span<const Value> in, std::span<const Attr> attrs,
                 const AttentionScores& s, Value* p_dropped) {
  const AttentionOperands at = OperandsOf(attrs, kGradOptions, true);
  const Shape rows = b.shape(in[kLse]);
  const Shape column{rows[0], rows[1], rows[2], 1};
  const Value p = b(kExp, {b(kSubtract, {s.scores, Reshape(b, in[kLse], column)})});
  *p_dropped = DropScores(b, p, in, attrs, at);
  const Value g = SwapHeads(b, in[kG]);
  const Value dp = DropScores(b, b(kMatmul, {g, s.v}, {false, true}), in, attrs, at);
  Value delta = b(kSum, {b(kMultiply, {g, SwapHeads(b, in[kY])})}, {std::vector<int64_t>{3}, true});
  if (at.lse_grad >= 0) {
    delta = b(kSubtract, {delta, Reshape(b, in[at.lse_grad], column)});
  }
  return b(kMultiply, {p, b(kSubtract, {dp, delta})});
}

}  // namespace ostria::ops
