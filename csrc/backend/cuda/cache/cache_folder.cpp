// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cache/cache_folder.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "backend/cuda/libraries/library.h"
#include "base/str_cat.h"

namespace ostria::cuda {

std::string CacheFolder() {
  if (std::string given = Environment("OSTRIA_CACHE_DIR"); !given.empty()) return given;
  if (const std::string user = Environment("XDG_CACHE_HOME"); !user.empty())
    return user + "/ostria";
  const std::string home = Environment("HOME");
  return home.empty() ? std::string() : home + "/.cache/ostria";
}

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return std::nullopt;
  return all;
}

void ReplaceFile(const std::string& path, std::string_view content) {
  static std::atomic<int> number = 0;
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), failed);
  const std::string beside = StrCat(path, ".", static_cast<int64_t>(::getpid()), ".", number++);
  {
    std::ofstream file(beside, std::ios::binary | std::ios::trunc);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    if (!file.flush()) {
      std::filesystem::remove(beside, failed);
      return;
    }
  }
  std::filesystem::rename(beside, path, failed);
  if (failed) std::filesystem::remove(beside, failed);
}

}  // namespace ostria::cuda
