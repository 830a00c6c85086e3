// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/kernel_files.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/str_cat.h"

namespace ostria::cuda {
namespace {

constexpr std::string_view kMark = "ostria kernel 1\n";

bool Read(const std::string& path, std::string* out) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  std::ostringstream text;
  text << file.rdbuf();
  *out = std::move(text).str();
  return !file.bad();
}

// Beside its place first, so that nobody reads half of it.
void Write(const std::string& path, std::string_view data) {
  static std::atomic<int> number = 0;
  const std::string beside = StrCat(path, ".", getpid(), ".", number++, ".tmp");
  {
    std::ofstream file(beside, std::ios::binary);
    file.write(data.data(), static_cast<std::streamsize>(data.size()));
    if (!file.flush()) {
      std::remove(beside.c_str());
      return;
    }
  }
  if (std::rename(beside.c_str(), path.c_str()) != 0) std::remove(beside.c_str());
}

}  // namespace

KernelFiles::KernelFiles() {
  const char* given = std::getenv("OSTRIA_CACHE_DIR");
  const char* home = std::getenv("HOME");
  if (given != nullptr && *given != 0) {
    folder_ = given;
  } else if (home != nullptr && *home != 0) {
    folder_ = StrCat(home, "/.cache/ostria");
  }
}

std::shared_ptr<const std::string> KernelFiles::Find(const ContentHash& key) const {
  std::string reference, image;
  if (folder_.empty() || !Read(StrCat(folder_, "/", key.Hex(), ".ref"), &reference)) return nullptr;
  if (reference.size() != kMark.size() + 32 || reference.substr(0, kMark.size()) != kMark) {
    return nullptr;
  }
  const std::string name = reference.substr(kMark.size());
  if (name.find('/') != std::string::npos) return nullptr;
  if (!Read(StrCat(folder_, "/", name, ".cubin"), &image) || HashOf(image).Hex() != name) {
    return nullptr;
  }
  return std::make_shared<const std::string>(std::move(image));
}

void KernelFiles::Keep(const ContentHash& key, const std::string& image) const {
  if (folder_.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  const std::string name = HashOf(image).Hex(), path = StrCat(folder_, "/", name, ".cubin");
  std::string present;
  if (!Read(path, &present) || present != image) Write(path, image);
  Write(StrCat(folder_, "/", key.Hex(), ".ref"), StrCat(kMark, name));
}

}  // namespace ostria::cuda
