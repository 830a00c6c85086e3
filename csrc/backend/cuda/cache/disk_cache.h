// SPDX-License-Identifier: Apache-2.0
// What is costly to make again, in the cache folder: one file per key, which also holds the key and
// a hash of the content. Files are replaced as a whole, so threads and processes may share a
// folder. What is damaged is missing, and what cannot be written is not kept; the first of each is
// said.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ostria::cuda {

/// What was kept under `key`, byte by byte the same; nothing if it is missing or damaged. `kind` is
/// the folder's name.
std::optional<std::string> ReadCached(std::string_view kind, std::string_view key);
void WriteCached(std::string_view kind, std::string_view key, std::string_view content);

}  // namespace ostria::cuda
