// SPDX-License-Identifier: Apache-2.0
// TFRecord framing: uint64 length | masked crc32c(length) | data | masked crc32c(data),
// little-endian, no header and no index. What the records hold is the caller's business. Invariant:
// no byte of a record is handed out, and none allocated for it, before its length was checked
// against its checksum and the bytes that are left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "io/file.h"

namespace ostria {

class RecordWriter {
 public:
  /// Throws Error(kIo).
  explicit RecordWriter(std::string path, OutputFile::Mode mode = OutputFile::Mode::kReplace)
      : file_(std::move(path), mode) {}
  void Write(std::string_view record);
  void Flush() { file_.Flush(); }
  void Close() { file_.Close(); }
  const OutputFile& file() const { return file_; }

 private:
  OutputFile file_;
};

/// Reads one record after the other.
class RecordReader {
 public:
  /// What the end of the file inside a record means: damage, or a writer that is not done yet.
  enum class Tail { kError, kStop };

  explicit RecordReader(std::string path, Tail tail = Tail::kError);
  /// Reads the record at offset() into `record`; false at the end of the file. Throws
  /// Error(kDataCorruption) with file and offset on a checksum that does not fit.
  bool Read(std::string* record);
  /// Where the next record starts; a position to come back to with Seek.
  uint64_t offset() const { return offset_; }
  void Seek(uint64_t offset) { offset_ = offset; }

 private:
  bool Fill(uint64_t bytes);

  InputFile file_;
  Tail tail_;
  uint64_t offset_ = 0;
  std::string buffer_;  // bytes of the file from buffer_offset_ on
  uint64_t buffer_offset_ = 0;
};

/// Reads the record at `*offset` of `file` without copying and moves `*offset` behind it; false at
/// the end. Throws as RecordReader::Read does.
bool ParseRecord(std::span<const std::byte> file, std::string_view name, uint64_t* offset,
                 std::string_view* record);

}  // namespace ostria
