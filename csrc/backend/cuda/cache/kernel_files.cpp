// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cache/kernel_files.h"

#include "backend/cuda/cache/cache_folder.h"
#include "base/str_cat.h"

namespace ostria::cuda {
namespace {

constexpr std::string_view kMark = "ostria kernel 1\n";

bool Read(const std::string& path, std::string* out) {
  std::optional<std::string> found = ReadFile(path);
  if (found) *out = std::move(*found);
  return found.has_value();
}

}  // namespace

KernelFiles::KernelFiles() : folder_(CacheFolder()) {}

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
  const std::string name = HashOf(image).Hex(), path = StrCat(folder_, "/", name, ".cubin");
  std::string present;
  if (!Read(path, &present) || present != image) ReplaceFile(path, image);
  ReplaceFile(StrCat(folder_, "/", key.Hex(), ".ref"), StrCat(kMark, name));
}

}  // namespace ostria::cuda
