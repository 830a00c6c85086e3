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

bool HeaderFits(const char* p) { return Load<uint32_t>(p + 8) == MaskCrc32c(Crc32c(p, 8)); }

// The verified length of the record whose header is at `p`; `which` is "record 3" or "a record".
uint64_t CheckHeader(const char* p, std::string_view name, uint64_t offset,
                     std::string_view which) {
  if (!HeaderFits(p)) {
    FailCorrupt(name, offset, "the checksum of ", which, "'s length does not fit");
  }
  return Load<uint64_t>(p);
}

void CheckData(std::string_view data, const char* footer, std::string_view name, uint64_t offset,
               std::string_view which) {
  if (Load<uint32_t>(footer) != MaskCrc32c(Crc32c(data))) {
    FailCorrupt(name, offset, "the checksum of ", which, " of ", data.size(),
                " bytes does not fit");
  }
}

[[noreturn]] void FailCut(std::string_view name, uint64_t offset, uint64_t left,
                          std::string_view which) {
  FailCorrupt(name, offset, "the file ends inside ", which, ", ", left, " bytes after its start");
}

constexpr std::string_view kSome = "a record";

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

RecordReader::RecordReader(std::string path, Tail tail, Damage damage)
    : file_(std::move(path)), tail_(tail), damage_(damage) {}

void RecordReader::Seek(uint64_t offset) {
  offset_ = offset;
  number_ = offset == 0 ? 0 : -1;
}

std::string RecordReader::Which() const {
  return number_ < 0 ? std::string(kSome) : StrCat("record ", number_);
}

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
  while (true) {
    try {
      if (!ReadHere(record)) return false;
      if (number_ >= 0) ++number_;
      return true;
    } catch (const Error& e) {
      if (damage_ == Damage::kError || e.code() != ErrorCode::kDataCorruption) throw;
      ++num_skipped_;
      skipped_ = e.what();
    }
    Skip();
  }
}

bool RecordReader::ReadHere(std::string* record) {
  const std::string& name = file_.path();
  const auto cut = [&] {
    if (tail_ == Tail::kStop) return false;
    const uint64_t size = file_.size();
    if (offset_ < size) FailCut(name, offset_, size - offset_, Which());
    return false;
  };
  if (!Fill(kHeader)) return cut();
  const uint64_t length = CheckHeader(here(), name, offset_, Which());
  if (length > UINT64_MAX - kHeader - kFooter || !Fill(kHeader + length + kFooter)) return cut();
  const char* p = here() + kHeader;
  CheckData({p, static_cast<size_t>(length)}, p + length, name, offset_, Which());
  record->assign(p, static_cast<size_t>(length));
  offset_ += kHeader + length + kFooter;
  return true;
}

// A length that fits its checksum says where the next record is. Else every byte may be the start
// of one: a header fits by chance once in four billion, and then its data must fit too.
void RecordReader::Skip() {
  if (number_ >= 0) ++number_;
  if (Fill(kHeader) && HeaderFits(here())) {
    const uint64_t length = Load<uint64_t>(here());
    const uint64_t size = file_.size(), left = size - std::min(size, offset_);
    offset_ = left < kHeader + kFooter || length > left - kHeader - kFooter
                  ? std::max(size, offset_)
                  : offset_ + kHeader + length + kFooter;
    return;
  }
  do {
    ++offset_;
  } while (Fill(kHeader) && !IsWholeRecord());
  if (!Fill(kHeader)) offset_ = std::max(offset_, file_.size());
}

bool RecordReader::IsWholeRecord() {
  if (!HeaderFits(here())) return false;
  const uint64_t length = Load<uint64_t>(here());
  if (length > UINT64_MAX - kHeader - kFooter || !Fill(kHeader + length + kFooter)) return false;
  const char* p = here() + kHeader;
  return Load<uint32_t>(p + length) == MaskCrc32c(Crc32c({p, static_cast<size_t>(length)}));
}

bool ParseRecord(std::span<const std::byte> file, std::string_view name, uint64_t* offset,
                 std::string_view* record) {
  const uint64_t left = file.size() - std::min<uint64_t>(file.size(), *offset);
  if (left == 0) return false;
  const char* p = reinterpret_cast<const char*>(file.data()) + *offset;
  if (left < kHeader + kFooter) FailCut(name, *offset, left, kSome);
  const uint64_t length = CheckHeader(p, name, *offset, kSome);
  if (length > left - kHeader - kFooter) FailCut(name, *offset, left, kSome);
  const std::string_view data(p + kHeader, static_cast<size_t>(length));
  CheckData(data, p + kHeader + length, name, *offset, kSome);
  *record = data;
  *offset += kHeader + length + kFooter;
  return true;
}

}  // namespace ostria
