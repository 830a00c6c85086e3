// SPDX-License-Identifier: Apache-2.0
#include "io/record_file.h"

#include <algorithm>
#include <cstring>

#include "io/crc32c.h"

namespace ostria {
namespace {

constexpr uint64_t kHeader = 12, kFooter = 4;
constexpr size_t kReadAhead = 256 << 10;

template <class T>
T Load(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// The verified length of the record whose header is at `p`.
uint64_t CheckHeader(const char* p, std::string_view name, uint64_t offset) {
  if (Load<uint32_t>(p + 8) != MaskCrc32c(Crc32c(p, 8))) {
    FailCorrupt(name, offset, "the checksum of a record's length does not fit");
  }
  return Load<uint64_t>(p);
}

void CheckData(std::string_view data, const char* footer, std::string_view name, uint64_t offset) {
  if (Load<uint32_t>(footer) != MaskCrc32c(Crc32c(data))) {
    FailCorrupt(name, offset, "the checksum of a record of ", data.size(), " bytes does not fit");
  }
}

[[noreturn]] void FailCut(std::string_view name, uint64_t offset, uint64_t left) {
  FailCorrupt(name, offset, "the file ends inside a record, ", left, " bytes after its start");
}

}  // namespace

void RecordWriter::Write(std::string_view record) {
  char header[kHeader];
  const uint64_t length = record.size();
  std::memcpy(header, &length, 8);
  const uint32_t length_crc = MaskCrc32c(Crc32c(header, 8));
  std::memcpy(header + 8, &length_crc, 4);
  const uint32_t data_crc = MaskCrc32c(Crc32c(record));
  file_.Append(header, sizeof header);
  file_.Append(record);
  file_.Append(&data_crc, sizeof data_crc);
}

RecordReader::RecordReader(std::string path, Tail tail) : file_(std::move(path)), tail_(tail) {}

// Makes `bytes` bytes from offset_ on present in the buffer; false when the file has fewer.
bool RecordReader::Fill(uint64_t bytes) {
  if (offset_ >= buffer_offset_ && offset_ - buffer_offset_ <= buffer_.size() &&
      buffer_.size() - (offset_ - buffer_offset_) >= bytes) {
    return true;
  }
  const uint64_t size = file_.size();
  const uint64_t left = size - std::min(size, offset_);
  const auto want =
      static_cast<size_t>(std::min<uint64_t>(left, std::max<uint64_t>(bytes, kReadAhead)));
  if (left < bytes) return false;
  buffer_.resize(want);
  buffer_.resize(file_.ReadAt(offset_, buffer_.data(), want));
  buffer_offset_ = offset_;
  return buffer_.size() >= bytes;
}

bool RecordReader::Read(std::string* record) {
  const std::string& name = file_.path();
  const auto cut = [&] {
    if (tail_ == Tail::kStop) return false;
    const uint64_t size = file_.size();
    if (offset_ < size) FailCut(name, offset_, size - offset_);
    return false;
  };
  if (!Fill(kHeader)) return cut();
  const uint64_t length = CheckHeader(buffer_.data() + (offset_ - buffer_offset_), name, offset_);
  if (length > UINT64_MAX - kHeader - kFooter || !Fill(kHeader + length + kFooter)) return cut();
  const char* p = buffer_.data() + (offset_ - buffer_offset_) + kHeader;
  CheckData({p, static_cast<size_t>(length)}, p + length, name, offset_);
  record->assign(p, static_cast<size_t>(length));
  offset_ += kHeader + length + kFooter;
  return true;
}

bool ParseRecord(std::span<const std::byte> file, std::string_view name, uint64_t* offset,
                 std::string_view* record) {
  const uint64_t left = file.size() - std::min<uint64_t>(file.size(), *offset);
  if (left == 0) return false;
  const char* p = reinterpret_cast<const char*>(file.data()) + *offset;
  if (left < kHeader + kFooter) FailCut(name, *offset, left);
  const uint64_t length = CheckHeader(p, name, *offset);
  if (length > left - kHeader - kFooter) FailCut(name, *offset, left);
  const std::string_view data(p + kHeader, static_cast<size_t>(length));
  CheckData(data, p + kHeader + length, name, *offset);
  *record = data;
  *offset += kHeader + length + kFooter;
  return true;
}

}  // namespace ostria
