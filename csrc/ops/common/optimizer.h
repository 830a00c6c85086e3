// SPDX-License-Identifier: Apache-2.0
// What the multi-tensor updates share. Inputs are groups of n tensors (weights, gradients, slots),
// then scalars ending in grad_scale and commit; outputs are the weights and the slots after the
// step. When commit is false they equal the inputs bit for bit (decision of the whole step, so it
// is an operand).
#pragma once

#include "ir/builder.h"
#include "ops/common/infer.h"

namespace ostria::ops {

// The scalars: their dtypes are fixed, whatever the weights are.
inline constexpr InputDef kRate = {"lr", Arity::kOne, false};
inline constexpr InputDef kStep = {"step", Arity::kOne, false};
inline constexpr InputDef kGradScale = {"grad_scale", Arity::kOne, false};
inline constexpr InputDef kCommit = {"commit", Arity::kOne, false};
inline constexpr AttrDef kWeightDecay = {"weight_decay", AttrType::kFloat, "0"};
inline constexpr AttrDef kDecayMask = {"decay", AttrType::kInts, "[]"};
/// Rows per gradient: where it is not 0 the tensor given is that column, then a row, and the
/// gradient is their outer product. Pass outer_gradients makes these; also of all_finite.
inline constexpr AttrDef kOuterRows = {"outer", AttrType::kInts, "[]"};

/// Number of tensors per group when `scalars` inputs are no tensors of a group.
inline int GroupSize(size_t inputs, int groups, int scalars) {
  return (static_cast<int>(inputs) - scalars) / groups;
}

/// The rule for `groups` groups, of which all but the gradients come out again; the scalars are
/// float32 (`step`, when has_step, is second and may be int64 too) and bool. Also checks
/// weight_decay and, which follow it in every update, decay and outer.
void InferUpdate(InferContext& c, int groups, bool has_step, int weight_decay_attr);
/// Whether variable `i` decays: the mask is empty (all do) or holds 0 or 1 per variable.
bool Decays(const std::vector<int64_t>& mask, int i);
/// Rows of gradient `i` where it is given as an outer product, else 0.
int64_t OuterRows(const std::vector<int64_t>& rows, int i);
/// The gradient itself: of shape `shape`, from a column of `rows` elements and a row after it.
Value OuterProduct(Builder& b, Value vectors, int64_t rows, const Shape& shape);

/// Gets w (decayed), g (scaled) and the slots in the weight's dtype; returns w and the slots after.
using UpdateRule = std::vector<Value> (*)(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                                          std::span<const Value> slots, Value lr, Value step);
/// For each variable calls `rule`, then chooses by commit.
std::vector<Value> DecomposeUpdate(Builder& b, std::span<const Value> in,
                                   std::span<const Attr> attrs, int groups, bool has_step,
                                   int weight_decay_attr, UpdateRule rule);

}  // namespace ostria::ops
