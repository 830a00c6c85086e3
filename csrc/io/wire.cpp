// SPDX-License-Identifier: Apache-2.0
#include "io/wire.h"

namespace ostria {

uint64_t WireReader::ReadVarint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (position_ == message_.size()) {
      FailCorrupt(file_, base_offset_ + position_, "a number is cut off by the end of its message");
    }
    const auto byte = static_cast<uint8_t>(message_[position_++]);
    if (shift == 63 && byte > 1) break;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  FailCorrupt(file_, base_offset_ + position_, "a number has more than 64 bits");
}

bool WireReader::Next() {
  if (position_ == message_.size()) return false;
  const uint64_t start = base_offset_ + position_;
  const uint64_t tag = ReadVarint();
  if ((tag >> 3) == 0 || (tag >> 3) > 0x1fffffff) {
    FailCorrupt(file_, start, "field number ", tag >> 3, " is outside 1..536870911");
  }
  field_ = static_cast<int>(tag >> 3);
  type_ = static_cast<WireType>(tag & 7);
  value_offset_ = base_offset_ + position_;
  size_t length = 0;
  switch (type_) {
    case WireType::kVarint: number_ = ReadVarint(); return true;
    case WireType::kFixed64: length = 8; break;
    case WireType::kFixed32: length = 4; break;
    case WireType::kBytes: {
      const uint64_t claimed = ReadVarint();
      value_offset_ = base_offset_ + position_;
      if (claimed > message_.size() - position_) {
        FailCorrupt(file_, start, "field ", field_, " claims ", claimed, " bytes; ",
                    message_.size() - position_, " are left");
      }
      length = static_cast<size_t>(claimed);
      break;
    }
    default: FailCorrupt(file_, start, "field ", field_, " has wire type ", tag & 7);
  }
  if (length > message_.size() - position_) {
    FailCorrupt(file_, start, "field ", field_, " is cut off by the end of its message");
  }
  bytes_ = message_.substr(position_, length);
  position_ += length;
  if (type_ == WireType::kFixed64) {
    std::memcpy(&number_, bytes_.data(), 8);
  } else if (type_ == WireType::kFixed32) {
    uint32_t value;
    std::memcpy(&value, bytes_.data(), 4);
    number_ = value;
  }
  return true;
}

void WireReader::Need(WireType type) const {
  if (type_ != type) {
    FailCorrupt(file_, value_offset_, "field ", field_, " has wire type ", static_cast<int>(type_),
                "; ", static_cast<int>(type), " is expected");
  }
}

uint64_t WireReader::varint() const {
  Need(WireType::kVarint);
  return number_;
}

double WireReader::as_double() const {
  Need(WireType::kFixed64);
  return std::bit_cast<double>(number_);
}

float WireReader::as_float() const {
  Need(WireType::kFixed32);
  return std::bit_cast<float>(static_cast<uint32_t>(number_));
}

std::string_view WireReader::bytes() const {
  Need(WireType::kBytes);
  return bytes_;
}

}  // namespace ostria
