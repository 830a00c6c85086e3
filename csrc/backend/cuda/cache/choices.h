// SPDX-License-Identifier: Apache-2.0
// What was chosen by timing, kept in a text file so that it is chosen once: one line per choice,
// a hash, a key and a value. The file is replaced as a whole, so readers see the old or the
// new one; lines that are not intact are ignored and go with the next write. Safe between threads;
// of two processes that write at once, the later one keeps what it read of the other.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace ostria::cuda {

class Choices {
 public:
  /// The choices in file `path`, which need not exist; empty: kept by this object alone.
  explicit Choices(std::string path);
  /// Those of one library in the cache folder: <folder>/<name>.choices.
  static Choices& Of(std::string_view name);

  std::optional<std::string> Find(const std::string& key) const;
  /// Neither may hold a tab or a new line. A file that cannot be written is no error: the choice
  /// holds for this process.
  void Set(const std::string& key, const std::string& value);

 private:
  void Read();
  void Write() const;
  std::string path_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string> choices_;
};

}  // namespace ostria::cuda
