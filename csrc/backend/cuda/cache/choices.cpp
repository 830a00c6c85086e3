// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cache/choices.h"

#include <memory>
#include <sstream>

#include "backend/cuda/cache/cache_folder.h"
#include "backend/cuda/cache/content_hash.h"
#include "base/check.h"
#include "base/str_cat.h"

namespace ostria::cuda {

Choices::Choices(std::string path) : path_(std::move(path)) { Read(); }

Choices& Choices::Of(std::string_view name) {
  static std::mutex mutex;
  static auto* all = new std::map<std::string, std::unique_ptr<Choices>>;
  const std::string folder = CacheFolder();
  const std::string path = folder.empty() ? "" : StrCat(folder, "/", name, ".choices");
  std::lock_guard lock(mutex);
  std::unique_ptr<Choices>& choices = (*all)[path.empty() ? StrCat("only here: ", name) : path];
  if (choices == nullptr) choices = std::make_unique<Choices>(path);
  return *choices;
}

std::optional<std::string> Choices::Find(const std::string& key) const {
  std::lock_guard lock(mutex_);
  const auto it = choices_.find(key);
  return it == choices_.end() ? std::nullopt : std::optional(it->second);
}

void Choices::Set(const std::string& key, const std::string& value) {
  OSTRIA_CHECK(key.find_first_of("\t\n") == std::string::npos &&
               value.find_first_of("\t\n") == std::string::npos);
  std::lock_guard lock(mutex_);
  Read();  // what others wrote meanwhile
  choices_[key] = value;
  Write();
}

void Choices::Read() {
  if (path_.empty()) return;
  std::istringstream in(ReadFile(path_).value_or(""));
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find('\t');
    const size_t second = first == std::string::npos ? first : line.find('\t', first + 1);
    if (second == std::string::npos) continue;
    if (line.substr(0, first) != HashOf(std::string_view(line).substr(first + 1)).Hex()) continue;
    choices_[line.substr(first + 1, second - first - 1)] = line.substr(second + 1);
  }
}

void Choices::Write() const {
  if (path_.empty()) return;
  std::string all;
  for (const auto& [key, value] : choices_) {
    const std::string text = StrCat(key, "\t", value);
    all += StrCat(HashOf(text).Hex(), "\t", text, "\n");
  }
  ReplaceFile(path_, all);
}

}  // namespace ostria::cuda
