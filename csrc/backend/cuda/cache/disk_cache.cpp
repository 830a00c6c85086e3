// SPDX-License-Identifier: Apache-2.0
// A file holds the sizes of key and content and the content's hash, the key, the content.
#include "backend/cuda/cache/disk_cache.h"

#include "backend/cuda/cache/cache_folder.h"
#include "backend/cuda/cache/content_hash.h"
#include "base/str_cat.h"

namespace ostria::cuda {
namespace {

std::string PathOf(std::string_view kind, std::string_view key) {
  const std::string folder = CacheFolder();
  return folder.empty() ? folder : StrCat(folder, "/", kind, "/", HashOf(key).Hex());
}

std::string Head(std::string_view key, std::string_view content) {
  return StrCat(key.size(), " ", content.size(), " ", HashOf(content).Hex(), "\n");
}

}  // namespace

std::optional<std::string> ReadCached(std::string_view kind, std::string_view key) {
  const std::string path = PathOf(kind, key);
  const std::optional<std::string> all = ReadFile(path);
  if (!all) return std::nullopt;
  const std::string_view whole = *all;
  const size_t begin = whole.find('\n') + 1;  // 0: there is no line
  if (begin > 0 && whole.substr(begin, key.size()) == key) {
    const std::string_view content = whole.substr(begin + key.size());
    if (whole.substr(0, begin) == Head(key, content)) return std::string(content);
  }
  NoteOnce("damaged", StrCat("the cache file ", path, " is damaged; what it held is made again"));
  return std::nullopt;
}

void WriteCached(std::string_view kind, std::string_view key, std::string_view content) {
  const std::string path = PathOf(kind, key);
  if (!path.empty()) ReplaceFile(path, StrCat(Head(key, content), key, content));
}

}  // namespace ostria::cuda
