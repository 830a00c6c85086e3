// SPDX-License-Identifier: Apache-2.0
// What the generators share. A draw is a pure function of key (seed and step), stream (which draw
// of the program) and the element's global index, so any split of a batch gives the same numbers.
#pragma once

#include "ir/builder.h"
#include "ops/common/infer.h"

namespace ostria::ops {

/// Inputs `key` and `offset` begin at input `first`.
void RequireKey(const InferContext& c, int first);
/// Attributes of random_uniform, random_normal and truncated_normal, in their order.
struct RandomAttr {
  enum : int { kShape, kDType, kA, kB, kStream };
};
/// Their shape rule.
void InferDraw(InferContext& c);
struct DropoutInput {
  enum : int { kX, kKey, kOffset };
};
struct DropoutAttr {
  enum : int { kRate, kStream };
};
/// Draws float16 and bfloat16 as float32 and casts; other dtypes have no simpler form.
std::vector<Value> DecomposeDraw(Builder& b, const OpDef& op, std::span<const Value> in,
                                 std::span<const Attr> attrs);
/// One operation per number drawn, whatever its distribution.
double DrawFlops(std::span<const ValueType> inputs, std::span<const ValueType> outputs,
                 std::span<const Attr> attrs);
[[noreturn]] void FailNoSimplerOps(const OpDef& op);

}  // namespace ostria::ops
