// SPDX-License-Identifier: Apache-2.0
#include "ops/common/scatter.h"

namespace ostria::ops {

void InferScatter(InferContext& c) {
  RequireIndex(c, 1);
  RequireSameDType(c, 0, 2);
  const Shape& shape = c.shape(0);
  const int axis = NormalizeAxis(c, c.attr<int64_t>(kScatterAxis), shape);
  const Shape want = GatheredShape(shape, axis, c.shape(1));
  if (!(want == c.shape(2))) {
    c.Fail("'updates' has shape ", c.shape(2), ", but x of shape ", shape, " and indices of shape ",
           c.shape(1), " along axis ", axis, " need updates of shape ", want);
  }
  c.Out(c.input(0));
}

void InferScatterNumbers(InferContext& c) {
  RequireNumber(c, 0);
  InferScatter(c);
}

double ScatterFlops(std::span<const ValueType> in, std::span<const ValueType>,
                    std::span<const Attr>) {
  return static_cast<double>(in[2].shape.numel());
}

void GradScatterExtremum(GradContext& c) {
  Builder& b = c.b;
  const Value x = c.input(0), indices = c.input(1), updates = c.input(2), y = c.output();
  const DType t = b.dtype(x);
  const Attr axis = c.attr<int64_t>(kScatterAxis);
  const Value zero = Scalar(b, t, 0.0), one = Scalar(b, t, 1.0);
  const Value kept = b(kEqual, {x, y});
  const Value won = b(kEqual, {updates, b(kGather, {y, indices}, {axis})});
  const Value winners = b(kScatterAdd, {Cast(b, kept, t), indices, Cast(b, won, t)}, {axis});
  // Nobody equals a NaN: then nothing flows, and nothing is divided by 0.
  const Value share = b(kDivide, {c.cotangent(), b(kMaximum, {winners, one})});
  if (c.Needs(0)) c.Set(0, b(kWhere, {kept, share, zero}));
  if (c.Needs(2)) c.Set(2, b(kWhere, {won, b(kGather, {share, indices}, {axis}), zero}));
}

void InferSegments(InferContext& c) {
  RequireNumber(c, 0);
  RequireIndex(c, 1);
  const Shape &data = c.shape(0), &ids = c.shape(1);
  bool fits = ids.rank() <= data.rank();
  for (int i = 0; fits && i < ids.rank(); ++i) fits = Equal(ids[i], data[i]) == Tri::kYes;
  if (!fits) {
    c.Fail("'segment_ids' has shape ", ids, " and 'data' has shape ", data,
           "; give one id for each slice of data along its first axes");
  }
  const int64_t count = c.attr<int64_t>(kNumSegments);
  if (count < 0) c.Fail("num_segments is ", count, "; it must not be negative");
  Shape out{count};
  for (int i = ids.rank(); i < data.rank(); ++i) out.Append(data[i]);
  c.Out(c.dtype(0), out);
}

void GradSegmentExtremum(GradContext& c) {
  Builder& b = c.b;
  const Value data = c.input(0), ids = c.input(1), y = c.output();
  const DType t = b.dtype(data);
  const Value hit = b(kEqual, {data, b(kGather, {y, ids}, {int64_t{0}})});
  const Value winners = b(kSegmentSum, {Cast(b, hit, t), ids}, {c.attr<int64_t>(kNumSegments)});
  const Value share = b(kDivide, {c.cotangent(), b(kMaximum, {winners, Scalar(b, t, 1.0)})});
  c.Set(0, b(kWhere, {hit, b(kGather, {share, ids}, {int64_t{0}}), Scalar(b, t, 0.0)}));
}

double SegmentFlops(std::span<const ValueType> in, std::span<const ValueType>,
                    std::span<const Attr>) {
  return static_cast<double>(in[0].shape.numel());
}

}  // namespace ostria::ops
