// SPDX-License-Identifier: Apache-2.0
// float16 and bfloat16 are storage: an op without an implementation for them casts its inputs to
// float32, runs, and casts its results back. First lines of such an op's decomposition.
#pragma once

#include <span>
#include <vector>

#include "ir/builder.h"

namespace ostria::ops {

/// Whether any input is float16 or bfloat16.
bool HasHalf(const Builder& b, std::span<const Value> inputs);
/// `op` on inputs cast to float32, its results cast to what infer says of the inputs as they are.
std::vector<Value> ViaFloat32(Builder& b, const OpDef& op, std::span<const Value> inputs,
                              std::span<const Attr> attrs);

}  // namespace ostria::ops
