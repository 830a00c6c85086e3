// SPDX-License-Identifier: Apache-2.0
// What is costly to make again, on disk: one file per key, written whole or not at all. A cache
// that cannot be read or written is none; nothing fails for it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ostria::cuda {

/// OSTRIA_CACHE_DIR, or else ostria in the user's cache folder; empty: there is none.
std::string CacheFolder();

/// What was kept under `key`, byte by byte the same; nothing if it is missing or damaged.
std::optional<std::string> ReadCached(std::string_view kind, std::string_view key);
void WriteCached(std::string_view kind, std::string_view key, std::string_view content);

}  // namespace ostria::cuda
