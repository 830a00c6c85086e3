// SPDX-License-Identifier: Apache-2.0
// A file holds the sizes of key and content, the key, the content: two keys with one name are seen.
#include "backend/cuda/disk_cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/str_cat.h"

namespace ostria::cuda {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

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

std::string CacheFolder() {
  if (std::string given = Environment("OSTRIA_CACHE_DIR"); !given.empty()) return given;
  if (std::string user = Environment("XDG_CACHE_HOME"); !user.empty()) return user + "/ostria";
  if (std::string home = Environment("HOME"); !home.empty()) return home + "/.cache/ostria";
  return {};
}

std::optional<std::string> ReadCached(std::string_view kind, std::string_view key) {
  std::ifstream file(PathOf(kind, key), std::ios::binary);
  if (!file) return std::nullopt;
  const std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto line = all.find('\n');
  if (line == std::string::npos || all.compare(line + 1, key.size(), key) != 0) return std::nullopt;
  std::string content = all.substr(std::min(all.size(), line + 1 + key.size()));
  if (all.substr(0, line + 1) != Head(key, content)) return std::nullopt;
  return content;
}

void WriteCached(std::string_view kind, std::string_view key, std::string_view content) {
  const std::string path = PathOf(kind, key);
  if (path.empty()) return;
  std::error_code ignored;
  const std::filesystem::path target(path);
  std::filesystem::create_directories(target.parent_path(), ignored);
  const std::string part = StrCat(path, ".", static_cast<int64_t>(::getpid()));
  {
    std::ofstream file(part, std::ios::binary);
    file << Head(key, content) << key << content;
    if (!file.flush()) return;
  }
  std::filesystem::rename(part, target, ignored);
}

}  // namespace ostria::cuda
