// SPDX-License-Identifier: Apache-2.0
// A file holds the sizes of key and content, the key, the content: two keys with one name are seen.
#include "backend/cuda/cache/disk_cache.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "backend/cuda/cache/cache_folder.h"
#include "base/str_cat.h"

namespace ostria::cuda {
namespace {

uint64_t Hash(std::string_view text) {  // FNV-1a
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::string PathOf(std::string_view kind, std::string_view key) {
  const std::string folder = CacheFolder();
  if (folder.empty()) return {};
  char name[17];
  std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(Hash(key)));
  return StrCat(folder, "/", kind, "/", name);
}

std::string Head(std::string_view key, std::string_view content) {
  return StrCat(key.size(), " ", content.size(), " ", Hash(content), "\n");
}

}  // namespace

std::optional<std::string> ReadCached(std::string_view kind, std::string_view key) {
  const std::optional<std::string> all = ReadFile(PathOf(kind, key));
  if (!all) return std::nullopt;
  const auto line = all->find('\n');
  if (line == std::string::npos || all->compare(line + 1, key.size(), key) != 0) {
    return std::nullopt;
  }
  std::string content = all->substr(std::min(all->size(), line + 1 + key.size()));
  if (all->substr(0, line + 1) != Head(key, content)) return std::nullopt;
  return content;
}

void WriteCached(std::string_view kind, std::string_view key, std::string_view content) {
  const std::string path = PathOf(kind, key);
  if (!path.empty()) ReplaceFile(path, StrCat(Head(key, content), key, content));
}

}  // namespace ostria::cuda
