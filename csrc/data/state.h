// SPDX-License-Identifier: Apache-2.0
// The text a position is saved as: tokens separated by spaces, written and read in the same order.
// Every stage writes its own name first, so that a damaged text is an error that says where, never
// a crash.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ostria::data {

class StateWriter {
 public:
  void Name(std::string_view stage);
  void Int(int64_t value);
  /// Non-negative values, packed as text of fixed width.
  void Ints(std::span<const int64_t> values);
  /// Tokens that another writer made.
  void Tokens(std::string_view text);
  std::string Take() { return std::move(text_); }

 private:
  void Separate();
  std::string text_;
};

class StateReader {
 public:
  /// `text` must outlive the reader.
  explicit StateReader(std::string_view text) : text_(text) {}
  void Name(std::string_view stage);
  /// Reads a value and checks min <= value <= max.
  int64_t Int(int64_t min, int64_t max = INT64_MAX);
  /// Any 64 bits.
  uint64_t Bits();
  /// At most `max_count` values, each below `bound`.
  std::vector<int64_t> Ints(int64_t max_count, int64_t bound);
  bool AtEnd();

 private:
  std::string_view Next();
  [[noreturn]] void Damaged(std::string_view what) const;
  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace ostria::data
