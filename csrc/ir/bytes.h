// SPDX-License-Identifier: Apache-2.0
// How much memory a value takes. Sizes must be integers.
#pragma once

#include "ir/graph.h"

namespace ostria {

inline int64_t Bytes(const ValueType& type) { return type.shape.numel() * SizeOf(type.dtype); }
inline int64_t Bytes(const Graph& graph, Value v) { return Bytes(graph.type(v)); }

}  // namespace ostria
