// SPDX-License-Identifier: Apache-2.0
// What the files of reduce/ share: attributes `axis` (empty: all axes) and
// `keepdims`, their shape rule, and the shapes that gradient rules need.
#pragma once

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria::ops {

enum ReduceAttribute { kReduceAxis, kReduceKeepdims };
inline constexpr InputDef kReduceInputs[] = {{"x"}};
inline constexpr AttrDef kReduceAttrs[] = {{"axis", AttrType::kInts, "[]"},
                                           {"keepdims", AttrType::kBool, "false"}};

/// The shape after reducing `axes` (ascending, non-negative).
Shape ReducedShape(const Shape& shape, std::span<const int> axes, bool keepdims);
/// ReducedShape for the attributes of `c`; checks the axes.
Shape InferReducedShape(const InferContext& c);
/// The dtype in which sums and products of `dtype` come out: integers widen to
/// 64 bits.
DType AccumulateDType(DType dtype);
/// sum and prod: the output has AccumulateDType.
void InferAccumulate(InferContext& c);
/// Floats only; the dtype stays.
void InferReduceFloat(InferContext& c);
/// max and min: an error when integers are reduced over no elements.
void InferExtremum(InferContext& c);
/// any and all: the output is bool.
void InferAnyAll(InferContext& c);
/// argmax and argmin: int64, one axis or all, and never over no elements.
void InferArg(InferContext& c);

/// A value of the reduced shape (an output, its cotangent) with the reduced
/// axes put back as size 1, so that it broadcasts against the input.
Value KeepDims(GradContext& c, Value v);
/// How many elements went into each output element, as a rank-0 value; at
/// least 1.
Value ReducedCount(GradContext& c, DType dtype);

/// Widens the input first: for implementations that keep the dtype.
template <const OpDef& op>
std::vector<Value> DecomposeAccumulate(Builder& b, std::span<const Value> in,
                                       std::span<const Attr> attrs) {
  const Value wide = Cast(b, in[0], AccumulateDType(b.dtype(in[0])));
  return {b(op, {wide}, {attrs.begin(), attrs.end()})};
}

/// One operation per input element.
double ReduceFlops(std::span<const ValueType> in, std::span<const ValueType>,
                   std::span<const Attr>);

}  // namespace ostria::ops
