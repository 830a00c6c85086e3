// SPDX-License-Identifier: Apache-2.0
// Parts of infer rules, and their messages: what is wrong, what was given, what
// is accepted, what to try. A symbolic dimension never broadcasts and never
// equals 1.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ir/op_def.h"

namespace ostria::ops {

// --- dtypes
// -----------------------------------------------------------------------------------
/// Input `i` must be float16, bfloat16, float32 or float64.
void RequireFloat(const InferContext& c, int i);
/// Input `i` must be a signed or unsigned integer.
void RequireInteger(const InferContext& c, int i);
/// Input `i` must be int32 or int64.
void RequireIndex(const InferContext& c, int i);
void RequireBool(const InferContext& c, int i);
/// Input `i` must not be bool.
void RequireNumber(const InferContext& c, int i);
/// Inputs `i` and `j` must have one dtype.
void RequireSameDType(const InferContext& c, int i, int j);

// --- shapes
// -----------------------------------------------------------------------------------
/// The input's name as the op declares it, and `x0`, `x1`, … for variadic ones.
std::string InputName(const InferContext& c, int i);
/// NumPy's rule on two shapes; fails with both when they do not fit.
Shape BroadcastShapes(const InferContext& c, const Shape& a, const Shape& b);
/// `a` and `b` must be equal for every binding; `what` begins the message ("the
/// batch sizes of …").
void RequireEqual(const InferContext& c, Dim a, Dim b, std::string_view what);
/// The axis as 0..rank-1; `shape` is that of the tensor the axis belongs to.
int NormalizeAxis(const InferContext& c, int64_t axis, const Shape& shape);
/// Several axes, ascending and without repeats; an empty list means all of
/// them.
std::vector<int> NormalizeAxes(const InferContext& c, std::span<const int64_t> axes,
                               const Shape& shape);
void RequireRank(const InferContext& c, int i, int rank, std::string_view accepted);

/// x[:axis] + indices + x[axis + 1:]
Shape GatheredShape(const Shape& x, int axis, const Shape& indices);

// The same two for gradient rules, which run after infer and so cannot fail.
int Axis(int64_t axis, int rank);
std::vector<int> Axes(std::span<const int64_t> axes, int rank);

// --- whole rules
// ------------------------------------------------------------------------------
/// One output of the type of input 0.
void InferUnary(InferContext& c);
/// The same, floats only.
void InferUnaryFloat(InferContext& c);
/// Two inputs of one dtype, broadcast; the output has their dtype.
void InferBinary(InferContext& c);
void InferBinaryFloat(InferContext& c);
/// Two inputs of one dtype, broadcast; the output is bool.
void InferCompare(InferContext& c);
/// Any elementwise op with a functor (OpDef::scalar): arity, kinds and result
/// come from its table row.
void InferElementwise(InferContext& c);

}  // namespace ostria::ops
