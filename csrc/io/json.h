// SPDX-License-Identifier: Apache-2.0
// JSON for file headers: a strict pull reader that knows the byte offset of everything it rejects,
// and the few lines a writer needs. No document tree: callers take what they expect, so memory
// follows what they keep, depth is theirs (and capped in SkipValue), and duplicate keys are seen.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/parallel.h"
#include "io/file.h"

namespace ostria {

/// Offset of the first byte that is not well-formed UTF-8, or npos.
size_t FindInvalidUtf8(std::string_view text);

class JsonReader {
 public:
  static constexpr int kMaxDepth = 8;

  /// Reads `text`, which lies at `base_offset` of the file that errors name. Throws
  /// Error(kDataCorruption) when it is not UTF-8. Both views must outlive the reader.
  JsonReader(std::string_view text, std::string_view file, uint64_t base_offset = 0);

  /// Calls `member(key)` after each key; it must read the value and may move the key. Duplicates
  /// are the caller's to see.
  void ReadObject(FunctionRef<void(std::string& key)> member);
  /// Calls `item()` before each item; it must read the item.
  void ReadArray(FunctionRef<void()> item);
  std::string ReadString();
  /// An integer without fraction or exponent, in the type's range.
  uint64_t ReadUint64();
  int64_t ReadInt64();
  /// A number that a double holds.
  double ReadDouble();
  /// Any value; nested at most kMaxDepth deep.
  void SkipValue();
  /// Only white space may follow.
  void Finish();

  /// Offset in the file of the next unread byte.
  uint64_t offset() const { return base_offset_ + position_; }
  template <class... Args>
  [[noreturn]] void Reject(const Args&... what) const {
    FailCorrupt(file_, offset(), what...);
  }

 private:
  char Peek();  // after white space; '\0' at the end
  void Expect(char c);
  std::string_view ScanNumber();
  uint32_t ReadHex4();

  std::string_view text_, file_;
  uint64_t base_offset_;
  size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace ostria
