// SPDX-License-Identifier: Apache-2.0
// The values of the store: bytes under keys, with caps on both and on all of them together. No
// clock, no socket, no lock: the hub owns it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ostria::control {

class Store {
 public:
  static constexpr size_t kMaxKeys = 100'000, kMaxBytes = size_t{256} << 20;

  /// nullptr where there is none.
  const std::string* Find(std::string_view key) const;
  /// Throws Error(kInvalidArgument) where the store is full.
  void Set(std::string_view key, std::string_view value);
  /// Adds to the decimal number under `key` (absent: 0) and returns the sum. Throws
  /// Error(kInvalidArgument) for another text, and where the sum has no 64 bits.
  int64_t Add(std::string_view key, int64_t number);

 private:
  std::map<std::string, std::string, std::less<>> values_;
  size_t bytes_ = 0;
};

}  // namespace ostria::control
