// SPDX-License-Identifier: Apache-2.0
// Texts of libraries that are costly to make again, in the cache folder: one file per key, which
// also holds the key.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ostria::cuda {

/// What was kept under `key`, byte by byte the same; nothing if it is missing or damaged.
std::optional<std::string> ReadCached(std::string_view kind, std::string_view key);
void WriteCached(std::string_view kind, std::string_view key, std::string_view content);

}  // namespace ostria::cuda
