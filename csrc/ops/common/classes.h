// SPDX-License-Identifier: Apache-2.0
// Rows of logits of which only the first `classes` elements are classes: a product may give rows
// that are wider, so that each begins where a device likes to read.
#pragma once

#include <span>

#include "ir/builder.h"
#include "ir/op_def.h"

namespace ostria::ops {

/// Where the losses keep how many classes there are; -1: as many as a row has elements.
inline constexpr int kClassesAttr = 0;

/// Fails unless rows of input 0 have so many elements.
void RequireClasses(const InferContext& c);

/// Whether anything lies behind the classes.
bool HasTail(const Builder& b, Value logits, std::span<const Attr> attrs);
/// The classes of each row; `v` itself where nothing lies behind them.
Value WithoutTail(Builder& b, Value v, std::span<const Attr> attrs);
/// With zeros behind each row up to the size that `type` has.
Value WithTail(Builder& b, Value v, const ValueType& type);

}  // namespace ostria::ops
