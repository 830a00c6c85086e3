// SPDX-License-Identifier: Apache-2.0
// Reading single pieces of the graph text; Parse in graph.h reads whole graphs.
#pragma once

#include <string_view>

#include "ir/attr.h"

namespace ostria {

/// Reads ToString(Attr)'s form as an attribute of `type`. Throws Error(kInvalidArgument).
Attr ParseAttr(std::string_view text, AttrType type);

}  // namespace ostria
