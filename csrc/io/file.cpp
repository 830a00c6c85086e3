// SPDX-License-Identifier: Apache-2.0
#include "io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace ostria {
namespace {

constexpr size_t kBufferBytes = 64 << 10;
constexpr size_t kMaxCall = 1 << 30;  // Linux moves at most 2 GiB in one call

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

void FailIo(std::string_view action, const std::string& path, int error_number,
            uint64_t bytes_needed) {
  std::string text =
      StrCat("cannot ", action, " ", path, ": ", std::generic_category().message(error_number));
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) {
    if (bytes_needed > 0) text += StrCat("; ", bytes_needed, " more bytes are needed");
    struct statvfs fs;
    if (statvfs(ParentOf(path).c_str(), &fs) == 0) {
      text += StrCat("; ", static_cast<uint64_t>(fs.f_bavail) * fs.f_frsize,
                     " bytes are free on this file system");
    }
    text += "; free space or choose a directory on another disk";
  } else if (error_number == EACCES || error_number == EPERM || error_number == EROFS) {
    text += "; check the permissions or choose another directory";
  } else if (error_number == ENOENT) {
    text += "; check the path";
  }
  throw Error(ErrorCode::kIo, text);
}

OutputFile::OutputFile(std::string path, Mode mode) : path_(std::move(path)) {
  const int how = mode == Mode::kReplace ? O_TRUNC : O_APPEND;
  fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | how, 0666);
  if (fd_ < 0) FailIo("create", path_, errno);
  buffer_.reserve(kBufferBytes);
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  try {
    Flush();
  } catch (const Error&) {  // whoever needs to know calls Close
  }
  close(fd_);
}

void OutputFile::WriteAll(const char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = write(fd_, data, std::min(bytes, kMaxCall));
    if (n < 0) {
      if (errno == EINTR) continue;
      const uint64_t missing = expected_ - std::min(expected_, written_);
      FailIo("write", path_, errno, std::max<uint64_t>(bytes, missing));
    }
    written_ += static_cast<uint64_t>(n);
    data += n;
    bytes -= static_cast<size_t>(n);
  }
}

void OutputFile::Append(const void* data, size_t bytes) {
  if (fd_ < 0) Fail(ErrorCode::kIo, "cannot write ", path_, ": it was closed");
  if (buffer_.size() + bytes > kBufferBytes) Flush();
  if (bytes > kBufferBytes) {
    WriteAll(static_cast<const char*>(data), bytes);
  } else {
    buffer_.append(static_cast<const char*>(data), bytes);
  }
}

void OutputFile::Flush() {
  if (fd_ < 0) Fail(ErrorCode::kIo, "cannot write ", path_, ": it was closed");
  // What could not be written is dropped: retrying later would write a part of it twice.
  std::string pending;
  pending.swap(buffer_);
  WriteAll(pending.data(), pending.size());
  pending.clear();
  buffer_.swap(pending);
}

void OutputFile::Sync() {
  Flush();
  if (fsync(fd_) != 0) FailIo("sync", path_, errno);
}

void OutputFile::Close() {
  if (fd_ < 0) return;
  Flush();
  const int fd = std::exchange(fd_, -1);
  if (close(fd) != 0) FailIo("close", path_, errno);
}

InputFile::InputFile(std::string path) : path_(std::move(path)) {
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) FailIo("open", path_, errno);
  struct stat info;
  if (fstat(fd_, &info) != 0 || S_ISDIR(info.st_mode)) {
    close(fd_);
    FailIo("read", path_, EISDIR);
  }
}

InputFile::~InputFile() { close(fd_); }

uint64_t InputFile::size() const {
  struct stat info;
  if (fstat(fd_, &info) != 0) FailIo("read", path_, errno);
  return static_cast<uint64_t>(info.st_size);
}

size_t InputFile::ReadAt(uint64_t offset, void* data, size_t bytes) const {
  size_t done = 0;
  while (done < bytes) {
    const ssize_t n = pread(fd_, static_cast<char*>(data) + done, std::min(bytes - done, kMaxCall),
                            static_cast<off_t>(offset + done));
    if (n < 0) {
      if (errno == EINTR) continue;
      FailIo("read", path_, errno);
    }
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

void InputFile::ReadExactlyAt(uint64_t offset, void* data, size_t bytes) const {
  const size_t got = ReadAt(offset, data, bytes);
  if (got != bytes) {
    FailCorrupt(path_, offset + got, "the file ends here, ", bytes - got, " bytes too early");
  }
}

std::string ReadWholeFile(const std::string& path, uint64_t max_bytes) {
  const InputFile file(path);
  const uint64_t size = file.size();
  if (size > max_bytes) {
    FailCorrupt(path, max_bytes, "the file has ", size, " bytes; at most ", max_bytes,
                " are accepted");
  }
  std::string text(size, '\0');
  file.ReadExactlyAt(0, text.data(), text.size());
  return text;
}

void SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) FailIo("open", path, errno);
  // Some network file systems refuse fsync on directories; their renames are synchronous.
  const int error = fsync(fd) != 0 ? errno : 0;
  close(fd);
  if (error != 0 && error != EINVAL) FailIo("sync", path, error);
}

}  // namespace ostria
