// SPDX-License-Identifier: Apache-2.0
// Nodes that many gradient rules and decompositions add: constants, casts,
// undoing a broadcast. Everything here works on symbolic shapes and on batches
// of 0 rows.
#pragma once

#include "ir/builder.h"

namespace ostria::ops {

/// A value of this type with every element `value` (op `full`).
Value Full(Builder& b, const ValueType& type, double value);
/// A rank-0 value.
Value Scalar(Builder& b, DType dtype, double value);
/// Zeros of the type of `v`.
Value ZerosLike(Builder& b, Value v);
/// `v` as `dtype`; `v` itself when it has that dtype.
Value Cast(Builder& b, Value v, DType dtype);
/// `v` with another shape of as many elements; `v` itself when it has that
/// shape.
Value Reshape(Builder& b, Value v, const Shape& shape);
/// `v` repeated along broadcast axes; `v` itself when it has that shape.
Value BroadcastTo(Builder& b, Value v, const Shape& shape);
/// Undoes broadcasting from `shape` to g's shape: sums over the axes that were
/// stretched or added.
Value SumTo(Builder& b, Value g, const Shape& shape);
/// The product of `dims` as a rank-0 value: `full` when static, else op
/// `dim_product`, which is a constant once the graph is specialised.
Value DimProduct(Builder& b, const Shape& dims, DType dtype);

// v * c and v + c for a constant, without a node when c changes nothing.
Value Times(Builder& b, Value v, double c);
Value Plus(Builder& b, Value v, double c);

}  // namespace ostria::ops
