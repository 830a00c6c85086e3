// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cache/cache_folder.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <set>
#include <system_error>

#include "backend/cuda/libraries/library.h"
#include "base/str_cat.h"

namespace ostria::cuda {
namespace {

void NoteUnwritten(const std::string& path, const std::error_code& why) {
  NoteOnce("unwritten", StrCat("the cache file ", path, " cannot be written (", why.message(),
                               "), so what it is for is made again in every process; set "
                               "OSTRIA_CACHE_DIR to a folder that has room and can be written"));
}

}  // namespace

void NoteOnce(const std::string& topic, const std::string& text) {
  static std::mutex mutex;
  static auto* const said = new std::set<std::string>;  // outlives static teardown
  std::lock_guard lock(mutex);
  if (said->insert(topic).second) std::fprintf(stderr, "ostria: %s\n", text.c_str());
}

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
  if (failed) return NoteUnwritten(path, failed);
  const std::string beside = StrCat(path, ".", static_cast<int64_t>(::getpid()), ".", number++);
  errno = 0;
  std::ofstream file(beside, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (file) {
    std::filesystem::rename(beside, path, failed);
    if (!failed) return;
  } else {
    failed.assign(errno != 0 ? errno : EIO, std::generic_category());
  }
  NoteUnwritten(path, failed);
  std::filesystem::remove(beside, failed);
}

}  // namespace ostria::cuda
