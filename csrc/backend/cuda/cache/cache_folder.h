// SPDX-License-Identifier: Apache-2.0
// The folder for what is costly to make again (compiled kernels, plans of libraries, choices made
// by timing), and files in it that are replaced as a whole. A folder or file that cannot be read or
// written is none: nothing fails for it, and what could not be written is said once.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ostria::cuda {

/// OSTRIA_CACHE_DIR, else ostria in XDG_CACHE_HOME or in ~/.cache. Empty: nowhere.
std::string CacheFolder();

std::optional<std::string> ReadFile(const std::string& path);
/// Writes beside `path`, in folders made for it, and renames: readers see the old file or the new
/// one, whatever other threads and processes write meanwhile.
void ReplaceFile(const std::string& path, std::string_view content);
/// Prints a line on stderr, once per process and `topic`.
void NoteOnce(const std::string& topic, const std::string& text);

}  // namespace ostria::cuda
