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
  /// What happens at damage: an error, or reading goes on at the next record that is whole.
  enum class Damage { kError, kSkip };

  explicit RecordReader(std::string path, Tail tail = Tail::kError, Damage damage = Damage::kError);
  /// Reads the record at offset() into `record`; false at the end of the file. Throws
  /// Error(kDataCorruption) with file, offset and number of the record on a checksum that does not
  /// fit.
  bool Read(std::string* record);
  /// Where the next record starts; a position to come back to with Seek.
  uint64_t offset() const { return offset_; }
  /// From there on records have no number, but from 0.
  void Seek(uint64_t offset);
  /// How many damaged places were left out, each of one record or of several in a row whose
  /// lengths are lost.
  int64_t num_skipped() const { return num_skipped_; }
  /// What the latest of them was, as an error would say it.
  const std::string& skipped() const { return skipped_; }

 private:
  bool ReadHere(std::string* record);
  // Moves from a damaged record to the next whole one, or to the end.
  void Skip();
  bool IsWholeRecord();
  bool Fill(uint64_t bytes);
  const char* here() const { return buffer_.data() + (offset_ - buffer_offset_); }
  std::string Which() const;  // "record 3"

  InputFile file_;
  Tail tail_;
  Damage damage_;
  uint64_t offset_ = 0;
  int64_t number_ = 0;  // of the record there; -1: not known
  int64_t num_skipped_ = 0;
  std::string skipped_;
  std::string buffer_;  // bytes of the file from buffer_offset_ on
  uint64_t buffer_offset_ = 0;
};

/// Reads the record at `*offset` of `file` without copying and moves `*offset` behind it; false at
/// the end. Throws as RecordReader::Read does.
bool ParseRecord(std::span<const std::byte> file, std::string_view name, uint64_t* offset,
                 std::string_view* record);

}  // namespace ostria
