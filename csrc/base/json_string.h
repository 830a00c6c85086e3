// SPDX-License-Identifier: Apache-2.0
// Text as JSON has it. Whoever reads JSON, or writes more than a record, uses io/json.h.
#pragma once

#include <string>
#include <string_view>

namespace ostria {

/// Appends `text` as a JSON string literal; `text` must be UTF-8.
void AppendJsonString(std::string& out, std::string_view text);

}  // namespace ostria
