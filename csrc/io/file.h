// SPDX-License-Identifier: Apache-2.0
// The one place that calls open, read, write and fsync. Failures are Error(kIo) with the path, the
// system's words and a remedy; a full disk also says how many bytes are missing.
// Invariant: an OutputFile that was not closed leaves its file behind, for the owner to remove.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace ostria {

/// Throws Error(kDataCorruption) that names the file and the byte where the damage was seen.
template <class... Args>
[[noreturn]] void FailCorrupt(std::string_view file, uint64_t offset, const Args&... what) {
  Fail(ErrorCode::kDataCorruption, file, ": damaged at byte ", offset, ": ", what...);
}

/// Throws Error(kIo): `cannot <action> <path>: <words for error_number>`, plus a remedy.
[[noreturn]] void FailIo(std::string_view action, const std::string& path, int error_number,
                         uint64_t bytes_needed = 0);

/// Written from its start or its end, through a buffer of 64 KiB.
class OutputFile {
 public:
  enum class Mode { kReplace, kAppend };

  explicit OutputFile(std::string path, Mode mode = Mode::kReplace);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Bytes that will follow; a full disk reports what is missing of them.
  void Expect(uint64_t bytes) { expected_ = bytes; }
  void Append(const void* data, size_t bytes);
  void Append(std::string_view data) { Append(data.data(), data.size()); }
  /// Hands buffered bytes to the system.
  void Flush();
  /// Flush, then wait until the device has them.
  void Sync();
  /// Flush and close; reports what a destructor could not.
  void Close();

  const std::string& path() const { return path_; }
  bool is_open() const { return fd_ >= 0; }
  uint64_t bytes_written() const { return written_ + buffer_.size(); }

 private:
  void WriteAll(const char* data, size_t bytes);

  std::string path_, buffer_;
  int fd_ = -1;
  uint64_t written_ = 0, expected_ = 0;
};

/// Read at any offset.
class InputFile {
 public:
  explicit InputFile(std::string path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Size in bytes now; a file that is being written grows.
  uint64_t size() const;
  /// Reads up to `bytes`; fewer only at the end of the file.
  size_t ReadAt(uint64_t offset, void* data, size_t bytes) const;
  /// Throws Error(kDataCorruption) when the file ends before.
  void ReadExactlyAt(uint64_t offset, void* data, size_t bytes) const;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int fd_ = -1;
};

/// The whole file; throws Error(kDataCorruption) when it holds more than `max_bytes`.
std::string ReadWholeFile(const std::string& path, uint64_t max_bytes);

/// Makes renames and creations inside `path` durable.
void SyncDirectory(const std::string& path);

}  // namespace ostria
